"""Does AMG pruning work? The same teacher, fine-tuning and cost, other criteria: `python -m benchmarks.study`.

Every method x level x seed is a cell with a file of its own under OUT/cells; a stopped run goes on with the same command.
OUT/result.json is what they say together. `--report RESULT --picture F.svg --table` shows one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.study.context import Setting, asked
from benchmarks.study.picture import picture
from benchmarks.study.plan import METHODS, waves
from benchmarks.study.report import markdown
from benchmarks.study.results import summarise
from benchmarks.study.trials import Job
from benchmarks.study.waves import LABEL, run_wave
from runtime.console import note
from runtime.errors import ConfigError
from runtime.files.manifest import host, replacing, tools
from runtime.options.argument_types import positive_integer

SCHEMA = 1


def gather(out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The result of all finished cells in `out` that were asked `wanted`."""
    lines = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]
    mine = [line for line in lines if line["asked"] == wanted]
    seconds = sum(line["seconds"] for line in mine)
    return {
        "schema": SCHEMA,
        "kind": "study",
        "label": LABEL,
        "asked": wanted,
        "scoring_loss": mine[0]["scoring_loss"],
        "cells": len(mine),
        "cell_seconds": round(seconds / len(mine), 1),
        "host": host(),
        "tools": tools("torch", "numpy", "timm"),
    } | summarise(mine)


def read_result(path: str) -> dict[str, Any]:
    """A result.json; ConfigError when it is not one."""
    try:
        result = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no readable result ({error}); make it with --out") from None
    if not isinstance(result, dict) or (result.get("schema"), result.get("kind")) != (SCHEMA, "study"):
        raise ConfigError(f"{path}: not a study's result.json; make it with --out")
    return result


def show(result: dict[str, Any], *, to: str | None, table: bool) -> None:
    """Write the picture to `to`, print the table."""
    if to:
        with replacing(to) as temporary:
            temporary.write_text(picture(result), encoding="utf-8")
        note(f"wrote {to}")
    if table:
        print(markdown(result))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare pruning methods at equal cost, or show a comparison."""
    args = _parser().parse_args(argv)
    if args.report:
        show(read_result(args.report), to=args.picture, table=args.table)
        return 0
    if not (args.weights and args.config and args.data and args.out):
        raise ConfigError("give --weights, --config, --data and --out, or --report RESULT")
    names = [Path(root).name for root in args.other]
    if len(set(names)) < len(names) or args.jobs < 1:
        raise ConfigError("--other folders need names of their own, and --jobs at least 1")
    setting = Setting(
        args.weights, args.config, args.data, args.out, tuple(args.other), tuple(args.overrides), args.device
    )
    wanted = asked(setting)
    for wave in waves(args.methods, args.seeds):
        run_wave([Job(setting, cell, wanted) for cell in wave], args.jobs)
    result = gather(Path(args.out), wanted)
    path = Path(args.out) / "result.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    note(f"wrote {path}")
    show(result, to=args.picture, table=True)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description="Compare pruning methods at equal cost."
    )
    parser.add_argument("--weights", help="the teacher: model.safetensors")
    parser.add_argument(
        "--config", help="configs/prune/study.yaml: the model, and the fine-tuning of all cells"
    )
    parser.add_argument("--data", metavar="ROOT", help="Anny-ReID: data/anny_reid")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument(
        "--other", action="append", default=[], metavar="ROOT", help="also zero-shot on this data set"
    )
    parser.add_argument("--seeds", type=_numbers, default=[1, 2, 3], help="1,2,3")
    parser.add_argument(
        "--jobs", type=positive_integer, default=2, metavar="N", help="cells at a time, one core each (2)"
    )
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=list(METHODS),
        help=f"{','.join(METHODS)}; amg always runs, it sets the budget",
    )
    parser.add_argument("--device", default="cpu", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")
    parser.add_argument("--report", metavar="RESULT", help="show this result.json instead of making one")
    parser.add_argument("--picture", metavar="SVG", help="write the picture of the result")
    parser.add_argument("--table", action="store_true", help="print the README's table of --report")
    return parser
