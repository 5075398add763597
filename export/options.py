"""The options of an export, as frozen dataclasses. Imports neither torch nor numpy nor onnx, so that parsers are fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# The data set of rendered people that ships with the project.
SHIPPED = Path(__file__).resolve().parent.parent / "data" / "anny_reid"
CHECK_COUNT, CALIBRATION_COUNT = 256, 512

FORM_NAMES = ("folded", "reference")
TARGETS = ("onnxruntime", "tensorrt", "tensorrt8")


@dataclass(frozen=True)
class InputOptions:
    """The inputs of the exported file: the image `layout` (uint8-nhwc or float-nchw) and a fixed `batch` size (None: any).

    `integration` is the program that will send the input, a key of export.integrations.table.INTEGRATIONS, or None. `camera` is
    "input" (camera ids are a second input), or a camera that is fixed in the file: "mean", "none" (no camera) or a 0-based camera
    id. None means the default: "none" for a model without camera embeddings, otherwise "mean" with an `integration` and "input"
    without one.
    """

    layout: str = "uint8-nhwc"
    camera: str | int | None = None
    batch: int | None = None
    integration: str | None = None


@dataclass(frozen=True)
class ExportOptions:
    """The options of one export: `input`, `form` (folded or reference), `precision` (fp32, fp16, int8) and `target` (TARGETS).

    If `gate` is True, the file is compared with the torch model on up to `check_count` crops of `check`, a data set or folder. With
    `max_map_drop`, `check` must be a data set, and mAP on it may drop by at most so many points (0..100; None: no limit). For FP16 and
    INT8, value ranges are measured on up to `calibration_count` images of the folder `calibration` (None: the training images of
    `check`). `latency_table` is a JSON file with the milliseconds that INT8 saves on the target in each group of layers (None:
    every group may become INT8). With `dim`, the features are projected to this many numbers, by a projection that is fitted on the
    crops of the folder `projection_data`; both are given, or neither.
    """

    input: InputOptions = field(default_factory=InputOptions)
    form: str = "folded"
    precision: str = "fp32"
    target: str = "onnxruntime"
    gate: bool = True
    check: Path = SHIPPED
    check_count: int = CHECK_COUNT
    max_map_drop: float | None = None
    calibration: Path | None = None
    calibration_count: int = CALIBRATION_COUNT
    latency_table: Path | None = None
    dim: int | None = None
    projection_data: Path | None = None
