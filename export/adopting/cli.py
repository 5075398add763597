"""The command `python -m export adopt`: make an artifact of this project from an ONNX file of another project."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.adopting.options import AdoptOptions
from export.adopting.pixels import COLORS, CONVENTIONS, LAYOUTS, RANGES, stated_pixels
from export.arguments import (
    add_gate_arguments,
    add_precision_arguments,
    add_projection_arguments,
    batch_size,
    export_options,
)
from export.options import InputOptions
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from export.adopting.comparison import Comparison

HELP = "make an artifact of this project from an ONNX file of another project"
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class AdoptCommand:
    """The parsed command line: adopt the ONNX file `model` as `out`. With `as_json`, the manifest is printed as JSON."""

    model: Path
    out: Path
    as_json: bool
    options: AdoptOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to `parser`."""
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="the ONNX file of another project")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: MODEL.adopted.onnx beside MODEL.onnx)",
    )
    parser.add_argument(
        "--like",
        choices=sorted(CONVENTIONS),
        help="take colour order, normalisation, size and resizing from the models of this project; the next options replace single "
        "values. Without --like, give --color, --mean and --std",
    )
    parser.add_argument(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="the size of the crops in pixels, such as 256x128 (default: that of the file, or else of --like)",
    )
    parser.add_argument("--color", choices=COLORS, help="the order of the channels that the model takes")
    parser.add_argument(
        "--range",
        type=int,
        choices=RANGES,
        dest="scale",
        help="the units of --mean and --std: pixels are 0..1 (default) or 0..255",
    )
    parser.add_argument(
        "--mean", metavar="R,G,B", help="the mean that is subtracted: one number, or three for R, G and B"
    )
    parser.add_argument(
        "--std",
        metavar="R,G,B",
        help="the standard deviation that is divided by: one number, or three for R, G and B",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        help="the layout of the file's input (default: where its size of 3 stands)",
    )
    parser.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        help="the method that resizes crops (default: that of --like, or else bilinear)",
    )
    parser.add_argument(
        "--output-name", metavar="NAME", help="the output with the embedding, if the file has several outputs"
    )
    parser.add_argument("--batch", default="dynamic", help="a fixed batch size, or dynamic (default)")
    add_precision_arguments(parser)
    add_projection_arguments(parser)
    add_gate_arguments(parser, against="the original")
    parser.add_argument("--json", action="store_true", help="print the manifest of the file as JSON")


def parsed(args: argparse.Namespace) -> AdoptCommand:
    """Return the options of the parsed arguments; raise ConfigError for a wrong size, batch or input of the model."""
    convention = CONVENTIONS.get(args.like)
    out = args.out or Path(f"{str(args.model).removesuffix('.onnx')}.adopted.onnx")
    options = AdoptOptions(
        pixels=stated_pixels(args.like, color=args.color, scale=args.scale, mean=args.mean, std=args.std),
        size=None if args.size is None else size_of(args.size),
        interpolation=args.interpolation or (convention.interpolation if convention else INTERPOLATIONS[0]),
        layout=args.layout,
        output=args.output_name,
        like=args.like,
        stated_check=args.check is not None,
        export=export_options(args, InputOptions(batch=batch_size(args.batch))),
    )
    return AdoptCommand(args.model, out, args.json, options)


def size_of(text: str) -> tuple[int, int]:
    """Return (height, width) from text such as 256x128; raise ConfigError for other text."""
    height, _, width = text.partition("x")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 4096 for part in (height, width)):
        raise ConfigError(f"--size {text}: give height x width in pixels, such as 256x128")
    return int(height), int(width)


def command(args: argparse.Namespace) -> None:
    """Adopt the file as the parsed arguments say, and print a summary."""
    job = parsed(args)
    # This module is imported first, because it says why ONNX Runtime cannot be used where its import fails.
    import runtime.backends.onnxruntime  # noqa: F401
    from export.adopting.adopt import adopt
    from runtime.console import note, print_json, print_table

    if not job.options.export.gate:
        note(
            f"WARNING --gate off: {job.out} is not compared with the original, and the stated input is not tested; the runtime "
            "refuses the file by default, so adopt it again with --gate on before you deploy it"
        )
    manifest = adopt(job.model, job.out, job.options, show=_ignore if job.as_json else _show)
    if job.as_json:
        print_json(manifest)
    else:
        print_table("adopted", ["", ""], _summary(job, manifest))


def _ignore(comparison: Comparison) -> None:
    pass


def _show(comparison: Comparison) -> None:
    from export.adopting.comparison import COLUMNS
    from runtime.console import print_table

    title = f"inputs on {comparison.crops} crops of {comparison.people} people"
    print_table(title, COLUMNS, comparison.rows())


def _summary(job: AdoptCommand, manifest: dict[str, Any]) -> list[list[object]]:
    from export.gate import gate_summary, projection_summary

    spec, own = manifest["input"], manifest["adopted"]
    size = job.out.stat().st_size / 1e6
    batch = spec["batch"] or "dynamic"
    return [
        ["file", f"{job.out}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        [
            "from",
            f"{job.model}, opset {own['opset']}, {own['input']['name']} {own['input']['layout']} -> {own['output']}",
        ],
        ["model's input", f"{job.options.pixels}, {spec['height']} x {spec['width']}"],
        [
            "form",
            f"{manifest['precision']} for {manifest['target']}, batch {batch}, {manifest['output']['dim']} values",
        ],
        ["macs", f"{manifest['macs']['macs_reference'] / 1e9:.3f} G"],
        *projection_summary(manifest),
        ["gate", gate_summary(manifest["gate"])],
    ]
