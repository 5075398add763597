"""`python export_onnx.py`: model.safetensors in, one gated ONNX file out, or nothing and exit code 7."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.arguments import batch_size, parser
from export.blocks import refuse as refuse_blocks
from export.blocks import write_blocks
from export.exporting import Options, export
from export.integrations.table import finish, refuse
from prune.model.architecture import Shape
from runtime.console import note, print_table


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model to one self-contained, static ONNX file, checked against the torch model before it is kept."""
    args = parser(main.__doc__).parse_args(argv)
    if args.neighbour:
        refuse(args.neighbour, precision=args.precision)
    if args.blocks:
        refuse_blocks(args.precision)
    options = Options(
        args.form,
        args.precision,
        args.target,
        args.gate == "on",
        args.check,
        args.check_count,
        args.max_map_drop,
        args.calibration,
        args.calibration_count,
        args.latency_table,
    )
    if not options.gate:
        note(f"WARNING --gate off: {args.out} will be ungated, and refused by the runtime by default")
    spec_of = {"layout": args.layout, "camera": args.camera, "batch": batch_size(args.batch)}
    manifest = export(args.weights, args.out, spec_of | {"neighbour": args.neighbour}, options)
    if args.blocks:
        _write_blocks(args.out, manifest)
    size = args.out.stat().st_size / 1e6
    rows: list[list[object]] = [
        ["file", f"{args.out}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        [
            "form",
            f"{options.form} {manifest['precision']}, opset {manifest['opset']}, {manifest['nodes']['simplified']} nodes",
        ],
        ["macs", f"{manifest['macs'][f'macs_{options.form}'] / 1e9:.2f} G"],
        ["gate", _said(manifest["gate"])],
    ]
    if args.neighbour:
        rows += finish(
            args.neighbour, args.weights, args.out, manifest, check=args.check, measured=options.gate
        )
    print_table("exported", ["", ""], rows)
    return 0


def _write_blocks(out: Path, manifest: dict[str, Any]) -> None:
    shape = Shape.from_json(manifest["shape"])
    folder = Path(f"{out}.blocks")
    model = {"file": out.name, "sha256": manifest["sha256"], "shape": manifest["shape"]}
    said = {"precision": manifest["precision"], "target": manifest["target"]}
    for path in write_blocks(shape, folder, model, **said):
        note(f"wrote {path}")


def _said(gate: dict[str, Any]) -> str:
    if gate["passed"] is None:
        return "OFF"
    numbers = gate["numbers"]
    return (
        f"passed on {numbers['images']} images: lowest cosine {numbers['cosine_min']:.7f}, largest difference "
        f"{numbers['difference_max']:.1e}, top-1 {numbers['top1']:.3f}, top-10 {numbers['top10']:.3f}"
    )
