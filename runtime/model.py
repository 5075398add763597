"""The Python API of a model: `open_model` opens a file, and the `Model` embeds crops, boxes of a frame, and image files.

The commands of this project that run a model use the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.artifact import Artifact
from runtime.checks.this_machine import doubt
from runtime.console import note
from runtime.datasets import MAX_BAD
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError, DataError, NonFiniteFeatures
from runtime.extraction.camera import extract_with_policy
from runtime.extraction.extract import MIN_NORM, run_halving
from runtime.extraction.preset import extractor, plan
from runtime.features import Features
from runtime.images.boxes import crop_views
from runtime.images.decode import MIN_SIDE
from runtime.images.preprocess import resize, to_input
from runtime.images.sources import Images, labelled_images
from runtime.opening import open_artifact, verify_artifact
from runtime.options.choices import BACKENDS, THROUGHPUT
from runtime.options.presets import refuse_contradictions

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
    preset: str | None = None,
    allow_ungated: bool = False,
) -> Model:
    """Verify and open the model in the file at `path`.

    `device` is "cpu" or "cuda". `backend` runs an ONNX file on the CPU (one of `runtime.options.choices.BACKENDS`, or "auto" for the
    one that `python -m runtime choose` measured as fastest here). `threads` None uses all cores. `batch` is the number of crops
    per run (None: the model's fixed batch, or 16). `preset` "latency" runs one crop at a time on all cores of the CPU. `preset`
    "throughput" runs one process with one thread on each core; it works with `embed_files` only. With `preset` None, the model runs
    in this process with `threads` and `batch`.

    The manifest, the file's hash and the recorded verdict of its quality gate are checked before anything is loaded. Raises
    ArtifactError for a file that is damaged, of an unknown kind, or has not passed its gate, DeviceError for a missing device or
    backend, GateError if the gate fails on this machine, and ConfigError for options that contradict each other. With
    `allow_ungated`, a gate that was not passed is only a warning on stderr.
    """
    if batch is not None and batch < 1:
        raise ConfigError(f"batch={batch}: give 1 or more")
    refuse_contradictions(preset, device=device, batch=batch, threads=threads)
    if preset == THROUGHPUT:
        # its processes load the model themselves
        artifact = verify_artifact(path, device=device, backend=backend, allow_ungated=allow_ungated)
    else:
        artifact = open_artifact(
            path, device=device, backend=backend, threads=threads, allow_ungated=allow_ungated
        )
    if (remark := doubt(artifact)) is not None:
        note(f"WARNING {remark}")
    size = plan(preset, artifact, batch).batch if preset else batch or artifact.spec.batch or BATCH
    return Model(artifact, size, preset)


@dataclass(frozen=True)
class Model:
    """An opened model, which computes the features of crops.

    `artifact` holds its manifest, input specification and session. `batch` is the number of crops per run. `preset` is the preset
    with which it was opened, or None.
    """

    artifact: Artifact
    batch: int = BATCH
    preset: str | None = None

    @property
    def dim(self) -> int:
        """D, the number of values in a feature."""
        return self.artifact.dim

    @property
    def sha256(self) -> str:
        """The hash of the model file. Features can be compared only if they come from files with the same hash."""
        return self.artifact.sha256

    def embed(
        self, crops: Sequence[NDArray[np.uint8]], *, color: Color, camera: Camera = None
    ) -> NDArray[np.float32]:
        """Return the features of `crops`, (N, D) float32, L2-normalised, in the order of the crops.

        `crops` is a sequence of (H, W, 3) uint8 arrays, each of one person and of its own size, or one (N, H, W, 3) array. `color`
        names the order of their channels: "rgb" (Pillow) or "bgr" (OpenCV). The crops are resized as in training and run in batches;
        a batch that does not fit into the device's memory is halved. `camera` selects the camera embedding of a model that has
        one as an input: "mean" (the default), "none", a 0-based camera id for all crops, or one id per crop (N,), where -1
        stands for an unknown camera.

        Raises ConfigError for an unknown `color` or camera, DataError for a crop of another type, shape or size (it names the
        crop) and for a feature whose norm is zero, NonFiniteFeatures for a feature with NaN or infinity, and OutOfMemory or
        DeviceError when the model cannot run.
        """
        return self._embed(crops, "crop {}".format, color=color, camera=camera)

    def embed_boxes(
        self,
        frame: NDArray[np.uint8],
        boxes: ArrayLike,
        *,
        color: Color,
        camera: Camera = None,
        empty: Literal["refuse", "nan"] = "refuse",
    ) -> NDArray[np.float32]:
        """Return the features of the people in `boxes` of one frame, (N, D) float32, L2-normalised, in the order of the boxes.

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
        per_crop = camera if _is_one(camera) else _ids_of(camera, len(views))[kept]
        features = np.full((len(views), self.dim), np.nan, np.float32)
        features[kept] = self._embed(
            [view for view in views if view is not None],
            lambda place: f"box {kept[place]}",
            color=color,
            camera=per_crop,
        )
        return features

    def embed_files(
        self,
        images: str | Path | Images,
        *,
        camera: str | int | None = None,
        workers: int | None = None,
        max_bad: float = MAX_BAD,
        progress: Callable[[int], None] = lambda images: None,
    ) -> Features:
        """Return the features of image files, as `python -m runtime extract` writes them.

        `images` is a folder, a list file, one image file, or `runtime.images.sources.Images`. People and cameras are read from file
        names. `camera` is "input" (the cameras of the names), "mean", "none" or a 0-based camera id; None means "input" on the
        data set that the model was trained on and "mean" elsewhere. `workers` threads decode while the model runs (default: up
        to 4). The result lists unusable images in `.skipped` and warnings in `.notes`. `progress` is called again and again, each
        time with the number of images done since the last call.

        Raises ConfigError for a camera policy that the model cannot follow, DataError where there is no image, TooManyBad (a
        DataError) when more than the fraction `max_bad` of all images is unusable, NonFiniteFeatures with the path of the first image
        whose feature has NaN or infinity, OutOfMemory or DeviceError when the model cannot run, and Unfinished (a KeyboardInterrupt)
        when a signal stops it. TooManyBad and Unfinished hold the `features` of the images that were done.
        """
        notes: tuple[str, ...] = ()
        if not isinstance(images, Images):
            images = labelled_images(images)
            notes = images.notes
        # whether a file without a passed gate may run was decided when the model was opened
        opened = extractor(self.artifact, self.preset, batch=self.batch, workers=workers, allow_ungated=True)
        with opened as extract:
            features = extract_with_policy(
                extract,
                self.artifact,
                images,
                policy=camera,
                max_bad=max_bad,
                progress=progress,
            )
        return replace(features, notes=notes + features.notes)

    def _embed(
        self,
        crops: Sequence[NDArray[np.uint8]],
        name: Callable[[int], str],
        *,
        color: Color,
        camera: Camera,
    ) -> NDArray[np.float32]:
        """Do what `embed` does; an error names a crop by `name(its position)`."""
        if self.preset == THROUGHPUT:
            raise ConfigError(
                f"a model opened with preset {THROUGHPUT!r} takes files only; open it without a preset, or call embed_files"
            )
        if color not in ("rgb", "bgr"):
            raise ConfigError(f'color={color!r}: give "rgb" (Pillow) or "bgr" (OpenCV)')
        ids = self._camera_ids(camera, len(crops))
        features = np.empty((len(crops), self.dim), np.float32)
        spec, batch = self.artifact.spec, self.batch
        for start in range(0, len(crops), self.batch):
            rows = slice(start, min(start + self.batch, len(crops)))
            checked = [_checked(crop, name(start + row), color) for row, crop in enumerate(crops[rows])]
            images = to_input(np.stack([resize(crop, spec) for crop in checked]), spec)
            try:
                features[rows], batch = run_halving(
                    self.artifact.run, images, None if ids is None else ids[rows], batch
                )
            except NonFiniteFeatures as error:
                numbers = tuple(start + row for row in error.rows)
                raise NonFiniteFeatures(
                    f"{name(numbers[0])}: {error}; export the model again", numbers
                ) from None
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        if len(zero := np.flatnonzero(norms < MIN_NORM)):
            raise DataError(
                f"{name(int(zero[0]))}: its feature has length zero and cannot be ranked; leave it out"
            )
        return np.asarray(features / norms, np.float32)

    def _camera_ids(self, camera: Camera, count: int) -> NDArray[np.int64] | None:
        """Return the `camera_ids` for the session, (N,) int64, or None for a model that takes none."""
        spec = self.artifact.spec
        if not _is_one(camera):
            ids = _ids_of(camera, count)
            if spec.camera == "input" and len(wrong := ids[(ids < -1) | (ids >= spec.cameras)]):
                raise ConfigError(
                    f"camera {wrong[0]}: this model has cameras 0 to {spec.cameras - 1}; give one of them, or -1 for unknown"
                )
            return camera_ids(ids, spec, policy="input")[0]
        if camera == "input":
            raise ConfigError(
                'camera="input": crops have no file names; give one 0-based camera id for each crop'
            )
        policy = camera if camera is None or isinstance(camera, str) else int(camera)
        return camera_ids(np.full(count, -1), spec, policy=policy)[0]


def _is_one(camera: Camera) -> TypeGuard[str | int | None]:
    """Return whether `camera` is one policy or one camera id for all crops."""
    return camera is None or isinstance(camera, str | int | np.integer)


def _ids_of(camera: Camera, count: int) -> NDArray[np.int64]:
    """Return one camera id for each of `count` crops or boxes; raise ConfigError for anything else."""
    try:
        ids = np.asarray(camera)
    except ValueError:
        raise ConfigError(
            "camera: a list whose entries have different lengths; give one 0-based camera id for each crop or box"
        ) from None
    if ids.shape != (count,) or (ids.dtype.kind not in "iu" and count):
        raise ConfigError(
            f"camera: {ids.dtype} {ids.shape} for {count} crops or boxes; give one 0-based camera id for each"
        )
    return ids.astype(np.int64)


def _checked(crop: NDArray[np.uint8], name: str, color: Color) -> NDArray[np.uint8]:
    """Return the crop as RGB; DataError names a crop of another type, shape or size."""
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        kind = f"{crop.dtype} {crop.shape}" if isinstance(crop, np.ndarray) else type(crop).__name__
        raise DataError(f"{name}: {kind}; give a (height, width, 3) uint8 array")
    if min(crop.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"{name}: {crop.shape[1]}x{crop.shape[0]} is smaller than {MIN_SIDE} pixels; leave it out"
        )
    return crop if color == "rgb" else np.ascontiguousarray(crop[:, :, ::-1])
