"""`python prune.py`: score, prune, fine-tune and evaluate a model. `prune.cli.pruning` does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prune.cli.prune_options import PruneOptions, parse

SHOWN = ("mAP", "R1", "R5", "R10", "mINP")


def main(argv: Sequence[str] | None = None) -> int:
    """Prune a TransReID model: score, cut, fine-tune and evaluate it. Write model.safetensors and result.json to the folder --out."""
    run(parse(argv, main.__doc__))
    return 0


def run(options: PruneOptions) -> None:
    """Prune the model, and print its multiply-adds, parameters and accuracy before and after, as a table or as one JSON document."""
    from prune.cli.pruning import prune
    from runtime.console import print_json, print_table
    from runtime.stopping import keeping

    with keeping(
        lambda: (
            f"finished rounds and checkpoints in {options.out} are kept; add --resume to the same command to resume"
        )
    ):
        result = prune(options)
    if options.as_json:
        print_json(result)
    else:
        print_table(result["model"], ["", "before", "after"], rows(result))


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Return the rows [name, value before, value after] of the printed table; `result` is the content of result.json."""
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
