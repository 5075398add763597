"""What an export is asked to do, as frozen options. Imports neither torch nor numpy nor onnx, so that parsers are fast."""

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
    """The file's inputs: image `layout`, `camera` policy and a fixed `batch` (None: any).

    `neighbour` is one of export.integrations.table.NEIGHBOURS: the input is what that sends, then. `camera` None is mean for a
    neighbour, else input where the model has a camera table.
    """

    layout: str = "uint8-nhwc"
    camera: str | int | None = None
    batch: int | None = None
    neighbour: str | None = None


@dataclass(frozen=True)
class ExportOptions:
    """What to export: `input`, `form` folded or reference, `precision`, `target`; `gate` on or off, on `check_count` crops of `check`.

    `max_map_drop` (points of mAP, 0..100) makes the gate evaluate parent and artifact on the whole check folder, a data set then.
    `calibration` (default: the check folder's training images) has the images that ranges are measured on, `latency_table` is a
    file of what INT8 saves where on the target.
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
