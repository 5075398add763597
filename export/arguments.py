"""The words of export_onnx.py's command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.check import COUNT, SHIPPED
from export.int8.calibration import COUNT as CALIBRATION_COUNT
from export.integrations.table import NEIGHBOURS, default_layout, default_target
from export.precision import PRECISIONS, TARGETS
from runtime.errors import ConfigError
from runtime.spec import LAYOUTS

FORM_NAMES = ("folded", "reference")


def batch_size(text: str) -> int | None:
    """A fixed batch, None for `dynamic`; ConfigError for anything else."""
    if text == "dynamic":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"--batch {text}: give a number from 1, or dynamic")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Whoever reads its answer finds a layout and a target in it: where they are not given, --for decides."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found = super().parse_args(args, namespace)
        found.layout = found.layout or default_layout(found.neighbour)
        found.target = found.target or default_target(found.neighbour)
        return found


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of export_onnx.py."""
    command = _Parser(prog="export_onnx.py", description=description)
    command.add_argument(
        "weights", type=Path, help="model.safetensors from prune.py, prune.convert or prune.train"
    )
    command.add_argument("--out", type=Path, required=True, help="model.onnx to write")
    command.add_argument("--precision", choices=PRECISIONS, default="fp32")
    command.add_argument(
        "--target",
        choices=TARGETS,
        help="onnxruntime (default); tensorrt: 10, 11 and TensorRT-RTX; tensorrt8: 8.6",
    )
    command.add_argument("--input", choices=LAYOUTS, dest="layout", help="image layout (uint8-nhwc)")
    command.add_argument(
        "--for",
        choices=sorted(NEIGHBOURS),
        dest="neighbour",
        help="also write what it reads: triton, a model repository (a plan's with --target tensorrt); deepstream, the tracker's "
        "ReID block. One image input as it sends it, any batch, --camera mean",
    )
    command.add_argument(
        "--camera", help="input, mean, none or a camera id (default: input where the model has a table)"
    )
    command.add_argument("--batch", default="dynamic", help="a fixed batch, or dynamic")
    command.add_argument(
        "--form",
        choices=FORM_NAMES,
        default="folded",
        help="folded: exact and fast; reference: as published",
    )
    command.add_argument(
        "--check",
        type=Path,
        default=SHIPPED,
        metavar="ROOT",
        help="images for the gate (default: shipped crops)",
    )
    command.add_argument(
        "--check-count", type=int, default=COUNT, metavar="N", help=f"at most so many of them ({COUNT})"
    )
    command.add_argument(
        "--max-map-drop", type=float, metavar="X", help="also fail when mAP on ROOT drops by more points"
    )
    command.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="images that fp16 and int8 ranges are measured on (default: training images of --check)",
    )
    command.add_argument(
        "--calibration-count",
        type=int,
        default=CALIBRATION_COUNT,
        metavar="N",
        help=f"at most so many ({CALIBRATION_COUNT})",
    )
    command.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="int8: {group: saved ms} on the target; others stay float",
    )
    command.add_argument("--gate", choices=["on", "off"], default="on")
    command.add_argument(
        "--blocks",
        action="store_true",
        help="also write MODEL.onnx.blocks/: one block at many sizes, which python -m benchmarks.latency_table measures",
    )
    return command
