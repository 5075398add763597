"""Parse the command line of export_onnx.py into frozen options."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.integrations.table import INTEGRATIONS, default_layout, default_target
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
from runtime.spec import INPUT_LAYOUTS


@dataclass(frozen=True)
class ExportCommand:
    """The parsed command line of export_onnx.py.

    `weights` is the model.safetensors to export, and `out` the ONNX file to write. If `blocks` is true, single transformer blocks
    are exported as well (`export.blocks`), for a latency table. `options` holds all other options.
    """

    weights: Path
    out: Path
    blocks: bool
    options: ExportOptions


def batch_size(text: str) -> int | None:
    """Return the batch size that `text` gives, or None for `dynamic` (any batch size); raise ConfigError for other text."""
    if text == "dynamic":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"--batch {text}: give a whole number from 1, or dynamic")
    return int(text)


def parse(argv: Sequence[str] | None, description: str | None = None) -> ExportCommand:
    """Return the parsed command line `argv` (None: that of this process); `description` is the text at the top of --help.

    The defaults of --input and --target are uint8-nhwc and onnxruntime. If --for names a program (Triton or DeepStream), they are
    those of this program (`export.integrations.table`). Raises ConfigError for a wrong --batch or --camera; argparse ends the
    process with exit code 2 for any other wrong option.
    """
    args = _parser(description).parse_args(argv)
    inputs = InputOptions(
        layout=args.layout or default_layout(args.integration),
        camera=None if args.camera is None else camera_policy(args.camera),
        batch=batch_size(args.batch),
        integration=args.integration,
    )
    options = replace(export_options(args, inputs), form=args.form)
    return ExportCommand(args.weights, args.out, args.blocks, options)


def _parser(description: str | None) -> ArgumentParser:
    parser = ArgumentParser(prog="export_onnx.py", description=description)
    parser.add_argument(
        "weights", type=Path, help="model.safetensors from prune.py, prune.convert or prune.train"
    )
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write, such as model.onnx")
    add_precision_arguments(parser)
    add_projection_arguments(parser)
    parser.add_argument(
        "--input",
        choices=INPUT_LAYOUTS,
        dest="layout",
        help="the layout of the input images: uint8-nhwc has pixels 0..255, float-nchw has normalised ones (default: uint8-nhwc, or "
        "the layout that the product of --for sends)",
    )
    parser.add_argument(
        "--for",
        choices=sorted(INTEGRATIONS),
        dest="integration",
        help="export for this product and also write its configuration: a model repository for triton (add --target tensorrt to "
        "serve an engine), the ReID block of the tracker's configuration for deepstream (and tensorrt as the default of --target), "
        "a tracker's YAML file for ultralytics, or the metadata file for boxmot. The file then has one image input in the product's "
        "layout and normalisation and a dynamic batch, and --camera defaults to mean. For ultralytics and boxmot, the export also "
        "measures on the data set of --check how much mAP the tracker's own way of cutting crops costs",
    )
    parser.add_argument(
        "--camera",
        help="the camera embedding that the file adds to each image: input (a second input, camera_ids, chooses it), mean (of all "
        "cameras), none, or that of a 0-based camera id (default: input if the model has camera embeddings)",
    )
    parser.add_argument("--batch", default="dynamic", help="a fixed batch size, or dynamic (default)")
    parser.add_argument(
        "--form",
        choices=FORM_NAMES,
        default="folded",
        help="the form of the graph: folded (default) has fewer operations and, up to rounding, the same features; reference has the "
        "operations of the published model",
    )
    add_gate_arguments(parser, against="the torch model")
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="also write the folder OUT.blocks with one transformer block at many sizes, for python -m benchmarks.latency_table",
    )
    return parser


def add_precision_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that choose the precision and the target, and what a conversion to them needs."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="the precision of the file (default: fp32)"
    )
    parser.add_argument(
        "--target",
        choices=TARGETS,
        help="the library that will run the file: onnxruntime (default); tensorrt for TensorRT 10, 11 and TensorRT-RTX; tensorrt8 "
        "for TensorRT 8.6",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="the images on which the value ranges for fp16 and int8 are measured (default: the training images of --check)",
    )
    parser.add_argument(
        "--calibration-count",
        type=int,
        default=CALIBRATION_COUNT,
        metavar="N",
        help=f"the largest number of calibration images (default: {CALIBRATION_COUNT})",
    )
    parser.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="for int8: a JSON object {group: ms} with the milliseconds that INT8 saves on the target in each group of layers "
        "(such as block0.fc1); groups that save nothing or are not in the table stay float",
    )


def add_gate_arguments(parser: ArgumentParser, *, against: str) -> None:
    """Add the arguments of the gate. `against` names the model that the file is compared with, in the help."""
    parser.add_argument(
        "--check",
        type=Path,
        metavar="ROOT",
        help=f"the data set or folder with the check images, on which the file is compared with {against} (default: the crops that "
        "ship with the project)",
    )
    parser.add_argument(
        "--check-count",
        type=int,
        default=CHECK_COUNT,
        metavar="N",
        help=f"the largest number of check images (default: {CHECK_COUNT})",
    )
    parser.add_argument(
        "--max-map-drop",
        type=float,
        metavar="X",
        help=f"also refuse the file if its mAP on the data set of --check is more than X points (0..100) below that of {against}",
    )
    parser.add_argument(
        "--gate",
        choices=["on", "off"],
        default="on",
        help=f"off: write the file without comparing it with {against}; the runtime refuses such a file without --allow-ungated "
        "(default: on)",
    )


def add_projection_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that make the features shorter."""
    parser.add_argument(
        "--dim",
        type=int,
        metavar="K",
        help="give features of K numbers, such as 128, by a projection at the end of the graph; it needs --projection-data. The file "
        "is refused if this costs more than 0.5 points of mAP on the data set of --check, which best shows real people",
    )
    parser.add_argument(
        "--projection-data",
        type=Path,
        metavar="DIR",
        help="the crops, without labels, on which the projection for --dim is fitted: at least 2 K, better thousands, from your own "
        "cameras (of a data set: its training images)",
    )


def export_options(args: Namespace, inputs: InputOptions) -> ExportOptions:
    """Return the options from parsed arguments of the three functions above; `inputs` are the input's."""
    return ExportOptions(
        input=inputs,
        precision=args.precision,
        target=args.target or default_target(inputs.integration),
        gate=args.gate == "on",
        check=args.check or SHIPPED,
        check_count=args.check_count,
        max_map_drop=args.max_map_drop,
        calibration=args.calibration,
        calibration_count=args.calibration_count,
        latency_table=args.latency_table,
        dim=args.dim,
        projection_data=args.projection_data,
    )
