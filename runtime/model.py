"""A model as a callable on crops: `open_model` and `Model`, the Python API behind every command that runs a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.artifact import Artifact
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError, DataError
from runtime.extraction.extract import MIN_NORM, run_halving
from runtime.images.boxes import crop_views
from runtime.images.decode import MIN_SIDE
from runtime.images.preprocess import resize, to_input
from runtime.opening import open_artifact
from runtime.options.choices import BACKENDS

Color = Literal["rgb", "bgr"]
Camera = str | int | ArrayLike | None
BATCH = 16


def open_model(
    path: Path | str,
    *,
    device: str = "cpu",
    backend: str = BACKENDS[0],
    threads: int | None = None,
    batch: int | None = None,
    allow_ungated: bool = False,
) -> Model:
    """The model in the file at `path`, verified and ready to embed crops.

    `device` is "cpu" or "cuda". `backend` runs an ONNX file on the CPU (one of `runtime.options.choices.BACKENDS`, or "auto" for the
    one that `python -m runtime choose` measured as fastest here). `threads` None uses all cores. `batch` is the number of crops
    per run (default: the model's fixed batch, or 16).

    The manifest, the file's hash and its gate are checked before anything is loaded. Raises ArtifactError for a file that is
    damaged, unknown or not gated (`allow_ungated` turns the last into a warning on stderr), DeviceError for a device or a
    backend that is not there, ConfigError for options that do not go together.
    """
    if batch is not None and batch < 1:
        raise ConfigError(f"batch={batch}: give 1 or more")
    artifact = open_artifact(
        path, device=device, engine=backend, threads=threads, allow_ungated=allow_ungated
    )
    return Model(artifact, batch or artifact.spec.batch or BATCH)


@dataclass(frozen=True)
class Model:
    """An opened model. `artifact` holds its manifest, input specification and session; `batch` is the crops per run."""

    artifact: Artifact
    batch: int = BATCH

    @property
    def dim(self) -> int:
        """D, the number of values in a feature."""
        return self.artifact.dim

    @property
    def sha256(self) -> str:
        """The identity of the model file; features of two identities are never compared."""
        return self.artifact.sha256

    def embed(
        self, crops: Sequence[NDArray[np.uint8]], *, color: Color, camera: Camera = None
    ) -> NDArray[np.float32]:
        """The features of `crops`, (N, D) float32, L2-normalised, in the order of the crops.

        `crops` is a sequence of (H, W, 3) uint8 arrays of any sizes, each one person, or one (N, H, W, 3) array. `color` names
        the order of their channels: "rgb" (Pillow) or "bgr" (OpenCV). The crops are resized as in training and run in batches;
        a batch that does not fit into the device's memory is halved. `camera` selects the camera embedding of a model that has
        one as an input: "mean" (the default), "none", a 0-based camera id for all crops, or one id per crop (N,), where -1
        stands for an unknown camera.

        Raises ConfigError for an unknown `color` or camera, DataError for a crop of another type, shape or size (it names the
        crop) and for a feature of length zero, NonFiniteFeatures, OutOfMemory or DeviceError when the model cannot run.
        """
        if color not in ("rgb", "bgr"):
            raise ConfigError(f'color={color!r}: give "rgb" (Pillow) or "bgr" (OpenCV)')
        ids = self._camera_ids(camera, len(crops))
        features = np.empty((len(crops), self.dim), np.float32)
        spec, batch = self.artifact.spec, self.batch
        for start in range(0, len(crops), self.batch):
            rows = slice(start, min(start + self.batch, len(crops)))
            checked = [_checked(crop, number, color) for number, crop in enumerate(crops[rows], start)]
            images = to_input(np.stack([resize(crop, spec) for crop in checked]), spec)
            features[rows], batch = run_halving(
                self.artifact.run, images, None if ids is None else ids[rows], batch
            )
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        if len(zero := np.flatnonzero(norms < MIN_NORM)):
            raise DataError(
                f"crop {zero[0]}: its feature has length zero and cannot be ranked; leave this crop out"
            )
        return np.asarray(features / norms, np.float32)

    def embed_boxes(
        self,
        frame: NDArray[np.uint8],
        boxes: ArrayLike,
        *,
        color: Color,
        camera: Camera = None,
        empty: Literal["refuse", "nan"] = "refuse",
    ) -> NDArray[np.float32]:
        """The features of the people in `boxes` of one frame, (N, D) float32, L2-normalised, in the order of the boxes.

        `frame` is (H, W, 3) uint8 and `color` names the order of its channels, as in `embed`. `boxes` is (N, 4): x1, y1, x2, y2
        in pixels, x2 and y2 exclusive; fractions are rounded outwards and the boxes are clipped to the frame. Crops are views
        of the frame: nothing is copied before the resize. A box with a side of less than 8 pixels inside the frame is empty:
        `empty` "refuse" raises DataError, "nan" gives that box a row of NaN.

        Raises DataError for a frame or boxes of another type or shape, and what `embed` raises.
        """
        if empty not in ("refuse", "nan"):
            raise ConfigError(f'empty={empty!r}: give "refuse" or "nan"')
        views = crop_views(frame, boxes, min_side=MIN_SIDE)
        missing = [number for number, view in enumerate(views) if view is None]
        if missing and empty == "refuse":
            raise DataError(
                f'box {missing[0]}: less than {MIN_SIDE} pixels wide or high inside the frame; leave it out, or pass empty="nan"'
            )
        kept = [number for number, view in enumerate(views) if view is not None]
        per_crop = camera if camera is None or np.ndim(camera) == 0 else np.asarray(camera)[kept]
        features = np.full((len(views), self.dim), np.nan, np.float32)
        features[kept] = self.embed(
            [view for view in views if view is not None], color=color, camera=per_crop
        )
        return features

    def _camera_ids(self, camera: Camera, count: int) -> NDArray[np.int64] | None:
        """What the session takes as `camera_ids`, (N,) int64, or None for a model that takes none."""
        if camera is None or isinstance(camera, str | int):
            ids, _ = camera_ids(np.full(count, -1), self.artifact.spec, policy=camera)
            return ids
        ids = np.asarray(camera)
        if ids.shape != (count,) or ids.dtype.kind not in "iu":
            raise ConfigError(
                f"camera: {ids.dtype} {ids.shape} for {count} crops; give one 0-based camera id per crop"
            )
        return camera_ids(ids, self.artifact.spec, policy="input")[0]


def _checked(crop: NDArray[np.uint8], number: int, color: Color) -> NDArray[np.uint8]:
    """The crop as RGB; DataError names it by its number where it is no picture of a person."""
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        kind = f"{crop.dtype} {crop.shape}" if isinstance(crop, np.ndarray) else type(crop).__name__
        raise DataError(f"crop {number}: {kind}; give a (height, width, 3) uint8 array")
    if min(crop.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"crop {number}: {crop.shape[1]}x{crop.shape[0]} is smaller than {MIN_SIDE} pixels; leave it out"
        )
    return crop if color == "rgb" else np.ascontiguousarray(crop[:, :, ::-1])
