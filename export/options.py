"""The options of an export, as frozen dataclasses. Imports neither torch nor numpy nor onnx, so that parsers are fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# The rendered test crops that ship with the project.
SHIPPED = Path(__file__).resolve().parent.parent / "data" / "anny_reid"
CHECK_COUNT, CALIBRATION_COUNT = 256, 512

FORM_NAMES = ("folded", "reference")
TARGETS = ("onnxruntime", "tensorrt", "tensorrt8")


@dataclass(frozen=True)
class InputOptions:
    """The inputs of the exported file: image `layout`, `camera` policy and a fixed `batch` (None: any batch).

    `integration` names a product of export.integrations.table.INTEGRATIONS; the file's input is then what this product sends. A
    `camera` of None means `mean` for an integration, and otherwise `input` if the model has a camera table.
    """

    layout: str = "uint8-nhwc"
    camera: str | int | None = None
    batch: int | None = None
    integration: str | None = None


@dataclass(frozen=True)
class ExportOptions:
    """The options of one export: `input`, `form` (folded or reference), `precision` and `target`.

    With `gate` on, the file is judged on up to `check_count` crops of `check`. `max_map_drop` (points of mAP, 0..100) makes the gate
    also evaluate parent and artifact on `check`, which must then be a data set. Ranges are measured on the images of `calibration`
    (default: the training images of `check`). `latency_table` is a JSON file with the time that INT8 saves per group on the target.
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
