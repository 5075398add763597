"""The Python API of a model: `open_model` opens a file, and the `Model` embeds crops, boxes of frames and videos, and image files.

The commands of this project that run a model use the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.artifact import Artifact
from runtime.checks.this_machine import doubt
from runtime.console import note
from runtime.datasets import MAX_BAD
from runtime.errors import ConfigError, NonFiniteFeatures
from runtime.extraction.arrays import checked, prepare, run_images
from runtime.extraction.camera import extract_with_policy
from runtime.extraction.crop_cameras import Camera, crop_camera_ids, is_one
from runtime.extraction.frame_boxes import BoxOptions, Empty, cut_boxes, run_boxes, run_frames
from runtime.extraction.preset import extractor, plan
from runtime.extraction.video import VideoFlow, extract_boxes
from runtime.features import Features
from runtime.images.preprocess import Color
from runtime.images.sources import Images, labelled_images
from runtime.opening import open_artifact, verify_artifact
from runtime.options.choices import BACKENDS, REOPEN, THROUGHPUT
from runtime.options.presets import refuse_contradictions
from runtime.video.boxes import Boxes, read_boxes
from runtime.video.frames import NumberedFrame, Reopening, read_frames
from runtime.video.source import video_source

BATCH = 16
# The most boxes of a frame in one run of a model that takes any batch size.
FRAME_BATCH = 64


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
    per run; None means the model's fixed batch, or else 16 crops and at most 64 boxes of a frame. `preset` "latency" runs one crop
    at a time on all cores of the CPU. `preset` "throughput" runs one process with one thread on each core; it works with
    `embed_files` only. With `preset` None, the model runs in this process with `threads` and `batch`.

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
    size = plan(preset, artifact, batch).batch if preset else batch or artifact.spec.batch
    return Model(artifact, size or BATCH, preset, size or FRAME_BATCH, threads)


@dataclass(frozen=True)
class Model:
    """An opened model, which computes the features of crops.

    `artifact` holds its manifest, input specification and session. `batch` is the number of crops per run, and `frame_batch` the
    largest number of boxes of a frame per run. `preset` is the preset with which it was opened, or None. `threads` is the number of
    threads that run the model, and the most threads that resize crops (None: all cores).
    """

    artifact: Artifact
    batch: int = BATCH
    preset: str | None = None
    frame_batch: int = FRAME_BATCH
    threads: int | None = None

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
        self._refuse_throughput()
        options = BoxOptions(color, camera, threads=self.threads)
        spec, batch = self.artifact.spec, self.batch
        ids = crop_camera_ids(camera, len(crops), spec)
        features = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), self.batch):
            rows = slice(start, min(start + self.batch, len(crops)))

            def name(row: int, start: int = start) -> str:
                return f"crop {start + row}"

            valid = [checked(crop, name(row)) for row, crop in enumerate(crops[rows])]
            images = prepare(valid, spec, color=options.color, threads=options.threads)
            try:
                features[rows], batch = run_images(
                    self.artifact, images, None if ids is None else ids[rows], batch=batch, name=name
                )
            except NonFiniteFeatures as error:
                raise NonFiniteFeatures(str(error), tuple(start + row for row in error.rows)) from None
        return features

    def embed_boxes(
        self,
        frame: NDArray[np.uint8],
        boxes: ArrayLike,
        *,
        color: Color,
        camera: Camera = None,
        empty: Empty = "refuse",
    ) -> NDArray[np.float32]:
        """Return the features of the people in `boxes` of one frame, (N, D) float32, L2-normalised, in the order of the boxes.

        `frame` is (H, W, 3) uint8 and `color` names the order of its channels, as in `embed`. `boxes` is (N, 4): x1, y1, x2, y2
        in pixels, x2 and y2 exclusive; fractions are rounded outwards and the boxes are clipped to the frame. The features are those
        of `embed` for the same crops; the frame is not copied. All boxes run at once, unless the model was opened with a
        batch size or has a fixed one. A box with a side of less than 8 pixels inside the frame is empty: `empty` "refuse" raises
        DataError, "nan" gives that box a row of NaN.

        Raises DataError for a frame or boxes of another type or shape, and what `embed` raises.
        """
        self._refuse_throughput()
        options = BoxOptions(color, camera, empty, self.threads)
        crops = cut_boxes(frame, boxes, self.artifact.spec, options)
        return run_boxes(self.artifact, crops, batch=self.frame_batch)[0]

    def embed_frames(
        self,
        frames: Iterable[tuple[NDArray[np.uint8], ArrayLike]],
        *,
        color: Color,
        camera: str | int | None = None,
        empty: Empty = "refuse",
    ) -> Generator[NDArray[np.float32], None, None]:
        """Yield the features of one frame after the other, each as `embed_boxes` returns them.

        `frames` yields (frame, boxes). While the model runs on one frame, a thread reads the next one from `frames` and resizes its
        crops; a frame must stay unchanged until its features have come. `camera` is one policy or one camera id for all boxes.
        Close the generator to stop early. Raises what `embed_boxes` raises, with the 0-based number of the frame, and the exceptions
        of `frames`.
        """
        self._refuse_throughput()
        if not is_one(camera):
            raise ConfigError(f"camera={camera!r:.60}: give one policy or one camera id for all frames")
        options = BoxOptions(color, camera, empty, self.threads)
        return run_frames(self.artifact, frames, options, batch=self.frame_batch)

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

    def embed_video(
        self,
        video: str | int | Path,
        boxes: str | Path | Boxes,
        *,
        camera: str | int | None = None,
        workers: int | None = None,
        max_bad: float = MAX_BAD,
        reopen: int = REOPEN,
        progress: Callable[[int], None] = lambda boxes: None,
    ) -> Features:
        """Return the features of the boxes of people in a video, as `python -m runtime extract --video` writes them.

        `video` is a file, the URL of a stream ("rtsp://..."), or the number of a V4L2 camera. `boxes` is a file
        (`runtime.video.boxes.read_boxes`) or its `Boxes`. The features are sorted by frame. They have `frames`, `times` and `tracks`,
        and the persons and cameras of the boxes. While the model runs, a thread decodes the next frames, and `workers` threads
        resize their crops (default: up to 4). `camera` is "mean" (the default), "none", a 0-based camera id, or "input": the cameras
        of the boxes are then the model's camera ids. A stream or camera that is lost is opened again, at most `reopen` times in
        succession, and each attempt is reported on stderr. `max_bad` and `progress` are as in `embed_files`.

        Raises DataError if the video or the file of boxes cannot be read at all, DeviceError if PyAV (`pip install '.[video]'`) is
        missing, and the errors of `embed_files`.
        """
        self._refuse_throughput()
        from runtime.video.av import decode_frames

        boxes = boxes if isinstance(boxes, Boxes) else read_boxes(boxes)
        source = video_source(video)

        def read(wait: Callable[[float], bool]) -> Generator[NumberedFrame, None, None]:
            decode = partial(decode_frames, note=note)
            return read_frames(source, decode, reopening=Reopening(reopen), note=note, wait=wait)

        flow = VideoFlow(self.batch, workers, camera)
        return extract_boxes(
            self.artifact, source.name, read, boxes, flow=flow, max_bad=max_bad, progress=progress
        )

    def _refuse_throughput(self) -> None:
        """Raise ConfigError for a model that was opened with the preset "throughput", because only worker processes load it."""
        if self.preset == THROUGHPUT:
            raise ConfigError(
                f"a model opened with preset {THROUGHPUT!r} takes files only; open it without a preset, or call embed_files"
            )
