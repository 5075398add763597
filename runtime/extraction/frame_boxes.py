"""Extract the features of boxes in frames: cut and resize the crops of a frame, and run the model on all of them at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.artifact import Artifact
from runtime.errors import ConfigError, DataError
from runtime.extraction.arrays import prepare, run_images
from runtime.extraction.crop_cameras import Camera, crop_camera_ids, ids_of, is_one
from runtime.extraction.prefetch import prefetch
from runtime.images.boxes import crop_views
from runtime.images.decode import MIN_SIDE
from runtime.images.preprocess import Color
from runtime.spec import InputSpec

Empty = Literal["refuse", "nan"]


@dataclass(frozen=True)
class BoxOptions:
    """How boxes become crops: the parameters `color`, `camera` and `empty` of `runtime.model.Model.embed_boxes`.

    `threads` is the most threads that resize the crops (None: all cores).
    """

    color: Color
    camera: Camera = None
    empty: Empty = "refuse"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.color not in ("rgb", "bgr"):
            raise ConfigError(f'color={self.color!r}: give "rgb" (Pillow) or "bgr" (OpenCV)')
        if self.empty not in ("refuse", "nan"):
            raise ConfigError(f'empty={self.empty!r}: give "refuse" or "nan"')


@dataclass(frozen=True)
class BoxCrops:
    """The crops of one frame, ready for the model.

    `kept` are the numbers of the boxes that are not empty, `count` is the number of all boxes. `images` (len(kept), ...) is the input
    of the model, and `camera_ids` its second input or None. `where` is the beginning of messages about this frame.
    """

    count: int
    kept: tuple[int, ...]
    images: NDArray[Any]
    camera_ids: NDArray[np.int64] | None
    where: str = ""


def cut_boxes(
    frame: NDArray[np.uint8], boxes: ArrayLike, spec: InputSpec, options: BoxOptions, *, where: str = ""
) -> BoxCrops:
    """Return the crops of the boxes (N, 4) of one frame (H, W, 3) uint8. The frame is not copied.

    Raises DataError for a frame or boxes of another type or shape, and for an empty box if these are refused; its message begins with
    `where`.
    """
    try:
        views = crop_views(frame, boxes, min_side=MIN_SIDE)
    except DataError as error:
        raise DataError(f"{where}{error}") from None
    kept = tuple(number for number, view in enumerate(views) if view is not None)
    if len(kept) < len(views) and options.empty == "refuse":
        first = next(number for number, view in enumerate(views) if view is None)
        raise DataError(
            f"{where}box {first}: less than {MIN_SIDE} pixels wide or high inside the frame; leave it out, or pass "
            'empty="nan"'
        )
    camera = options.camera if is_one(options.camera) else ids_of(options.camera, len(views))[list(kept)]
    crops = [view for view in views if view is not None]
    return BoxCrops(
        count=len(views),
        kept=kept,
        images=prepare(crops, spec, color=options.color, threads=options.threads),
        camera_ids=crop_camera_ids(camera, len(crops), spec),
        where=where,
    )


def run_boxes(artifact: Artifact, crops: BoxCrops, *, batch: int) -> tuple[NDArray[np.float32], int]:
    """Return the features of the boxes, (count, D) float32, and the batch size that fitted into the device's memory.

    The features are L2-normalised; those of empty boxes are NaN. The crops run in batches of `batch`. Raises the errors of
    `run_images`.
    """
    features = np.full((crops.count, artifact.dim), np.nan, np.float32)
    if crops.kept:
        features[list(crops.kept)], batch = run_images(
            artifact,
            crops.images,
            crops.camera_ids,
            batch=batch,
            name=lambda row: f"{crops.where}box {crops.kept[row]}",
        )
    return features, batch


def run_frames(
    artifact: Artifact,
    frames: Iterable[tuple[NDArray[np.uint8], ArrayLike]],
    options: BoxOptions,
    *,
    batch: int,
) -> Generator[NDArray[np.float32], None, None]:
    """Yield what `run_boxes` returns for each (frame, boxes) of `frames`. A thread reads and cuts the next frame meanwhile."""

    def cut() -> Generator[BoxCrops, None, None]:
        for number, (frame, boxes) in enumerate(frames):
            yield cut_boxes(frame, boxes, artifact.spec, options, where=f"frame {number}: ")

    with closing(prefetch(cut())) as prepared:
        for crops in prepared:
            features, batch = run_boxes(artifact, crops, batch=batch)
            yield features
