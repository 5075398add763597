"""The command line of export_onnx.py, and the frozen options that it becomes."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.integrations.table import NEIGHBOURS, default_layout, default_target
from export.options import (
    CALIBRATION_COUNT,
    CHECK_COUNT,
    FORM_NAMES,
    SHIPPED,
    TARGETS,
    ExportOptions,
    InputOptions,
)
from runtime.errors import ConfigError
from runtime.options.argument_types import camera_policy
from runtime.options.choices import PRECISIONS
from runtime.spec import LAYOUTS


@dataclass(frozen=True)
class ExportCommand:
    """The model to export, the file to write, whether its blocks are written beside it, and how it is exported."""

    weights: Path
    out: Path
    blocks: bool
    options: ExportOptions


def batch_size(text: str) -> int | None:
    """A fixed batch, None for `dynamic`; ConfigError for anything else."""
    if text == "dynamic":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"--batch {text}: give a number from 1, or dynamic")
    return int(text)


def parse(argv: Sequence[str] | None, description: str | None = None) -> ExportCommand:
    """The options of a command line; argparse exits 2 where it is wrong. A layout and a target not given are those of `--for`."""
    args = _parser(description).parse_args(argv)
    inputs = InputOptions(
        layout=args.layout or default_layout(args.neighbour),
        camera=None if args.camera is None else camera_policy(args.camera),
        batch=batch_size(args.batch),
        neighbour=args.neighbour,
    )
    options = ExportOptions(
        input=inputs,
        form=args.form,
        precision=args.precision,
        target=args.target or default_target(args.neighbour),
        gate=args.gate == "on",
        check=args.check,
        check_count=args.check_count,
        max_map_drop=args.max_map_drop,
        calibration=args.calibration,
        calibration_count=args.calibration_count,
        latency_table=args.latency_table,
    )
    return ExportCommand(args.weights, args.out, args.blocks, options)


def _parser(description: str | None) -> ArgumentParser:
    parser = ArgumentParser(prog="export_onnx.py", description=description)
    parser.add_argument(
        "weights", type=Path, help="model.safetensors from prune.py, prune.convert or prune.train"
    )
    parser.add_argument("--out", type=Path, required=True, help="model.onnx to write")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--target",
        choices=TARGETS,
        help="onnxruntime (default); tensorrt: 10, 11 and TensorRT-RTX; tensorrt8: 8.6",
    )
    parser.add_argument("--input", choices=LAYOUTS, dest="layout", help="image layout (uint8-nhwc)")
    parser.add_argument(
        "--for",
        choices=sorted(NEIGHBOURS),
        dest="neighbour",
        help="also write what it reads: triton, a model repository (a plan's with --target tensorrt); deepstream, the tracker's "
        "ReID block. One image input as it sends it, any batch, --camera mean",
    )
    parser.add_argument(
        "--camera", help="input, mean, none or a camera id (default: input where the model has a table)"
    )
    parser.add_argument("--batch", default="dynamic", help="a fixed batch, or dynamic")
    parser.add_argument(
        "--form",
        choices=FORM_NAMES,
        default="folded",
        help="folded: exact and fast; reference: as published",
    )
    parser.add_argument(
        "--check",
        type=Path,
        default=SHIPPED,
        metavar="ROOT",
        help="images for the gate (default: shipped crops)",
    )
    parser.add_argument(
        "--check-count",
        type=int,
        default=CHECK_COUNT,
        metavar="N",
        help=f"at most so many of them ({CHECK_COUNT})",
    )
    parser.add_argument(
        "--max-map-drop", type=float, metavar="X", help="also fail when mAP on ROOT drops by more points"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="images that fp16 and int8 ranges are measured on (default: training images of --check)",
    )
    parser.add_argument(
        "--calibration-count",
        type=int,
        default=CALIBRATION_COUNT,
        metavar="N",
        help=f"at most so many ({CALIBRATION_COUNT})",
    )
    parser.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="int8: {group: saved ms} on the target; others stay float",
    )
    parser.add_argument("--gate", choices=["on", "off"], default="on")
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="also write MODEL.onnx.blocks/: one block at many sizes, which python -m benchmarks.latency_table measures",
    )
    return parser
