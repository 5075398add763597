"""`python prune.py`: score, prune, fine-tune, evaluate. The work is done by `prune.cli.pruning`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prune.cli.prune_options import PruneOptions, parse

SHOWN = ("mAP", "R1", "R5", "R10", "mINP")


def main(argv: Sequence[str] | None = None) -> int:
    """Prune a TransReID model: score, cut, fine-tune, evaluate; writes DIR/model.safetensors and result.json."""
    run(parse(argv, main.__doc__))
    return 0


def run(options: PruneOptions) -> None:
    """Prune, and print what the model costs and how it ranks before and after."""
    from prune.cli.pruning import prune
    from runtime.console import print_json, print_table
    from runtime.stopping import keeping

    with keeping(
        lambda: (
            f"finished rounds and snapshots in {options.out} are kept; go on with the same command and --resume"
        )
    ):
        result = prune(options)
    if options.as_json:
        print_json(result)
    else:
        print_table(result["model"], ["", "before", "after"], rows(result))


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Rows (name, before, after) for people."""
    sides = (result["before"], result["after"])
    table = [
        [name, *(f"{side['flops'][name] / 1e9:.2f} G" for side in sides)]
        for name in ("macs_paper", "macs_reference", "macs_folded")
    ]
    table.append(["params", *(f"{side['flops']['params'] / 1e6:.2f} M" for side in sides)])
    for name in ("heads", "tokens", "hidden"):
        table.append([name, *(" ".join(map(str, side["flops"][name])) for side in sides)])
    if "scores" in result["after"]:
        table += [
            [name, *(f"{side['scores'][name]:.2%}" if "scores" in side else "" for side in sides)]
            for name in SHOWN
        ]
    return table
