"""`python -m engines verify`: prove an engine where it stands, also one that bare trtexec built."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from engines.manifest import FLAVOURS
from runtime.options.choices import PRECISIONS

HELP = "prove an engine here, also one of bare trtexec"


@dataclass(frozen=True)
class VerifyOptions:
    """The engine and the file that it was built from; the rest describes an engine without a manifest.

    `precision` None is what the ONNX file says.
    """

    engine: Path
    onnx: Path
    builder: str
    precision: str | None
    version_compatible: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `verify`."""
    parser.add_argument("engine", type=Path, metavar="MODEL.engine")
    parser.add_argument(
        "--onnx",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="what it was built from, its manifest and check crops beside it",
    )
    facts = parser.add_argument_group("of an engine without a manifest")
    facts.add_argument(
        "--builder", choices=tuple(FLAVOURS), default="trtexec", help="what built it (%(default)s)"
    )
    facts.add_argument("--precision", choices=PRECISIONS, help="what it computes in (as the ONNX file says)")
    facts.add_argument(
        "--version-compatible", action="store_true", help="trtexec was given --versionCompatible"
    )


def command(args: Namespace) -> None:
    """Run `verify` with parsed arguments."""
    run(VerifyOptions(args.engine, args.onnx, args.builder, args.precision, args.version_compatible))


def run(options: VerifyOptions) -> None:
    """Run the gate on one engine and write its manifest; GateError (exit code 7) when it fails."""
    from engines.verify import Adopted, verify
    from runtime.console import print_table

    facts = Adopted(options.builder, options.precision, options.version_compatible)
    manifest = verify(options.engine, options.onnx, facts)
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
