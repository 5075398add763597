"""Run an exported file inside BoxMOT's BoT-SORT, and time BoxMOT's own way to features beside ours."""

from __future__ import annotations

import os

import numpy as np
from boxmot import BotSort
from boxmot.reid.core import ReID

from export.integrations.crops import boxmot_crop
from runtime import open_model
from runtime.host.stopwatch import interleave
from tests.integrations_check.clips import Clip
from tests.integrations_check.evidence import OfBoxes, Ours, computed_once, retrieval, same_pixels
from tests.integrations_check.job import Job, Start, Step, adapter, tracks_of

PACKAGES = ("boxmot", "torch", "onnxruntime", "opencv-python", "numpy")
# At most so many frames with people are timed, each so many times.
TIMED_FRAMES, ROUNDS = 60, 5


class Features:
    """What BotSort wants of a re-ID model."""

    def __init__(self, of_boxes: OfBoxes) -> None:
        self.of_boxes = of_boxes

    def get_features(self, boxes: np.ndarray, frame: np.ndarray) -> np.ndarray:
        return self.of_boxes(frame, boxes)


def check(job: Job) -> dict:
    ours = Ours(open_model(job.model), boxmot_crop)
    backend = opened(job)
    assert tuple(backend.input_shape) == ours.size, "the input size is not read from the file"

    def documented() -> Step:
        track = adapter("boxmot", job.model)["track"]
        return lambda *frame: {int(row[7]): int(row[4]) for row in track(*frame)}

    clips = job.clips()
    return {
        "same_pixels": same_pixels(
            clips,
            ours,
            lambda frame, boxes: backend.get_crops(boxes, frame).numpy(),
            lambda frame, boxes: backend.get_features(boxes, frame),
        ),
        "retrieval": retrieval(job.sequence_clips(), ours),
        "tracks": {
            "own": tracks_of(clips, lambda: start(reid_weights=job.model)),
            "fed": tracks_of(clips, lambda: start(reid_model=Features(ours.features_of_their_crops))),
            "ours": tracks_of(clips, documented),
            "none": tracks_of(clips, lambda: start(use_embeddings=False)),
        },
        "speed": speed(job.sequence_clips(), ours, backend),
    }


def timed(job: Job) -> dict:
    return speed(job.sequence_clips(), Ours(open_model(job.model), boxmot_crop), opened(job))


def opened(job: Job) -> object:
    """Return BoxMOT's own way to run the file."""
    return ReID(weights=job.model, device="cpu").model


def with_settings(job: Job) -> Start:
    model = open_model(job.model)
    features = Features(computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr")))
    return lambda settings: start(reid_model=features, **settings)


def start(**settings: object) -> Step:
    """Return a step of a new tracker. The cameras do not move."""
    tracker = BotSort(use_cmc=False, **settings)

    def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, int]:
        rows = tracker.update(np.column_stack([boxes, scores, np.zeros(len(boxes))]), frame)
        return {int(row[7]): int(row[4]) for row in rows}

    return step


def speed(clips: list[Clip], ours: Ours, backend: object) -> dict:
    """Time BoxMOT's way from a frame to features beside ours.

    Returns {own_ms, ours_ms, ratio, cpu_ratio, frames, people, height, load_average}. Both start from a decoded frame and its boxes.
    They are timed in turns on the same frames; the times are medians, and `ratio` and `cpu_ratio` are the medians of the ratios of
    two neighbouring times, own / ours. `people` is the mean number of boxes, and `load_average` was read before the first call.
    """
    pictures = [
        (pixels, frame.boxes.astype(np.float32))
        for clip in clips
        for frame, pixels in clip.pictures()
        if len(frame.boxes)
    ]
    pictures = pictures[:: max(len(pictures) // TIMED_FRAMES, 1)][:TIMED_FRAMES]

    def own(turn: int) -> object:
        pixels, boxes = pictures[turn % len(pictures)]
        return backend.get_features(boxes, pixels)

    def mine(turn: int) -> object:
        return ours.features(*pictures[turn % len(pictures)])

    load = list(os.getloadavg())
    theirs, our = interleave([own, mine], rounds=ROUNDS * len(pictures))
    return {
        "own_ms": float(np.median(theirs.wall_ms)),
        "ours_ms": float(np.median(our.wall_ms)),
        "ratio": float(np.median(theirs.wall_ms / our.wall_ms)),
        "cpu_ratio": float(np.median(theirs.cpu_ms / our.cpu_ms)),
        "frames": len(pictures),
        "people": float(np.mean([len(boxes) for _, boxes in pictures])),
        "height": pictures[0][0].shape[0],
        "load_average": load,
    }
