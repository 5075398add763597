"""The command `python export_onnx.py`: export a model to ONNX.

If the features of the file differ too much from those of the torch model, the exit code is 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.arguments import ExportCommand, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model to one self-contained ONNX file, which is kept only if its features agree with the torch model's."""
    run(parse(argv, main.__doc__))
    return 0


def run(command: ExportCommand) -> None:
    """Export the model as `command` says and print a summary.

    With --blocks, single transformer blocks are written too. With --for, the configuration is written for the program that will run
    the model, such as Triton.
    """
    # This module is imported first, because it says why ONNX Runtime cannot be used where its import fails.
    import runtime.backends.onnxruntime  # noqa: F401
    from export.blocks import refuse as refuse_blocks
    from export.exporting import export
    from export.gate import gate_summary, projection_summary
    from export.integrations.configuration import refuse, write_integration
    from runtime.console import note, print_table

    options, out = command.options, command.out
    integration = options.input.integration
    if integration:
        refuse(integration, out, options)
    if command.blocks:
        refuse_blocks(options.precision)
    if not options.gate:
        note(
            f"WARNING --gate off: {out} is not compared with the torch model; the runtime refuses it by default, so export it again "
            "with --gate on before you deploy it"
        )
    manifest = export(command.weights, out, options)
    if command.blocks:
        _write_blocks(out, manifest)
    size = out.stat().st_size / 1e6
    rows: list[list[object]] = [
        ["file", f"{out}  {size:.1f} MB  sha256 {manifest['sha256'][:12]}"],
        [
            "form",
            f"{options.form} {manifest['precision']}, opset {manifest['opset']}, {manifest['nodes']['simplified']} nodes",
        ],
        ["macs", f"{manifest['macs'][f'macs_{options.form}'] / 1e9:.2f} G"],
        *projection_summary(manifest),
        ["gate", gate_summary(manifest["gate"])],
    ]
    if integration:
        rows += write_integration(
            integration, command.weights, out, manifest, check=options.check, measured=options.gate
        )
    print_table("exported", ["", ""], rows)


def _write_blocks(out: Path, manifest: dict[str, Any]) -> None:
    from export.blocks import write_blocks
    from prune.model.architecture import Architecture
    from runtime.console import note

    architecture = Architecture.from_json(manifest["shape"])
    folder = Path(f"{out}.blocks")
    model = {"file": out.name, "sha256": manifest["sha256"], "shape": manifest["shape"]}
    precision, target = manifest["precision"], manifest["target"]
    for path in write_blocks(architecture, folder, model, precision=precision, target=target):
        note(f"wrote {path}")
