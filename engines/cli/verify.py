"""`python -m engines verify`: run the quality gate of an engine on this machine, also of one built without this project."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from engines.manifest import FLAVOURS
from runtime.options.choices import PRECISIONS

HELP = "run the quality gate of an engine on this machine"


@dataclass(frozen=True)
class VerifyOptions:
    """The paths of the engine and of the ONNX file from which it was built.

    The other fields describe an engine that has no manifest; otherwise they are ignored. `builder` is what built the engine:
    "trtexec", "python" or "rtx". `precision` None means the precision of the ONNX file. `version_compatible` says that the engine was
    built with trtexec's --versionCompatible, so that later TensorRT versions of the same major version can load it, too.
    """

    engine: Path
    onnx: Path
    builder: str
    precision: str | None
    version_compatible: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `engines verify` to `parser`, in place."""
    parser.add_argument("engine", type=Path, metavar="MODEL.engine", help="the engine to verify")
    parser.add_argument(
        "--onnx",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="the ONNX file from which the engine was built; its manifest and check crops must be beside it",
    )
    unrecorded = parser.add_argument_group("for an engine without a manifest")
    unrecorded.add_argument(
        "--builder",
        choices=tuple(FLAVOURS),
        default="trtexec",
        help="what built the engine (default: %(default)s)",
    )
    unrecorded.add_argument(
        "--precision", choices=PRECISIONS, help="the precision of the engine (default: that of the ONNX file)"
    )
    unrecorded.add_argument(
        "--version-compatible",
        action="store_true",
        help="say that the engine was built with trtexec's --versionCompatible",
    )


def command(args: Namespace) -> None:
    """Run `engines verify` with the parsed arguments `args`. Raises GateError (exit code 7) if the gate fails."""
    run(VerifyOptions(args.engine, args.onnx, args.builder, args.precision, args.version_compatible))


def run(options: VerifyOptions) -> None:
    """Run the gate on one engine, write its manifest and print the verdict. Raises GateError (exit code 7) if the gate fails."""
    from engines.verify import AssumedBuild, verify
    from runtime.console import print_table

    assumed = AssumedBuild(options.builder, options.precision, options.version_compatible)
    manifest = verify(options.engine, options.onnx, assumed)
    numbers = manifest["gate"]["numbers"]
    rows: list[list[object]] = [
        ["file", f"{options.engine}  sha256 {manifest['sha256'][:12]}"],
        ["precision", manifest["precision"]],
        [
            "gate",
            f"passed on {numbers['images']} images: lowest cosine {numbers['cosine_min']:.6f}, largest difference "
            f"{numbers['difference_max']:.1e}, top-1 {numbers['top1']:.3f}, top-10 {numbers['top10']:.3f}",
        ],
    ]
    print_table("verified", ["", ""], rows)
