"""Compare AMG pruning with other criteria for the same teacher, fine-tuning and cost: `python -m benchmarks.study`.

Every combination of method, level and seed is a trial with a record of its own in OUT/cells. The same command resumes a stopped
study. OUT/result.json summarises all trials; `--report RESULT --picture F.svg --table` shows a result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.study.chart import chart
from benchmarks.study.context import StudyOptions, study_fingerprint
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


def gather(out: Path, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Return the result of all finished trials in `out` that have this fingerprint."""
    records = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]
    records = [record for record in records if record["asked"] == fingerprint]
    seconds = sum(record["seconds"] for record in records)
    return {
        "schema": SCHEMA,
        "kind": "study",
        "label": LABEL,
        "asked": fingerprint,
        "scoring_loss": records[0]["scoring_loss"],
        "cells": len(records),
        "cell_seconds": round(seconds / len(records), 1),
        "host": host(),
        "tools": tools("torch", "numpy", "timm"),
    } | summarise(records)


def read_result(path: str) -> dict[str, Any]:
    """Read a result.json; raises ConfigError if the file is not one."""
    try:
        result = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a readable result ({error}); make one with --out") from None
    if not isinstance(result, dict) or (result.get("schema"), result.get("kind")) != (SCHEMA, "study"):
        raise ConfigError(f"{path}: not the result.json of a study; make one with --out")
    return result


def show(result: dict[str, Any], *, chart_path: str | None, table: bool) -> None:
    """Write the chart of a result to `chart_path` and print its table, each if asked for."""
    if chart_path:
        with replacing(chart_path) as temporary:
            temporary.write_text(chart(result), encoding="utf-8")
        note(f"wrote {chart_path}")
    if table:
        print(markdown(result))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare pruning methods at equal cost, or show the result of a comparison."""
    args = _parser().parse_args(argv)
    if args.report:
        show(read_result(args.report), chart_path=args.picture, table=args.table)
        return 0
    if not (args.weights and args.config and args.data and args.out):
        raise ConfigError("give --weights, --config, --data and --out, or --report RESULT")
    names = [Path(root).name for root in args.other]
    if len(set(names)) < len(names) or args.jobs < 1:
        raise ConfigError("the --other folders must have different names, and --jobs must be at least 1")
    options = StudyOptions(
        args.weights, args.config, args.data, args.out, tuple(args.other), tuple(args.overrides), args.device
    )
    fingerprint = study_fingerprint(options)
    for wave in waves(args.methods, args.seeds):
        run_wave([Job(options, trial, fingerprint) for trial in wave], args.jobs)
    result = gather(Path(args.out), fingerprint)
    path = Path(args.out) / "result.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    note(f"wrote {path}")
    show(result, chart_path=args.picture, table=True)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description="Compare pruning methods at equal cost."
    )
    parser.add_argument("--weights", help="the teacher, a model.safetensors")
    parser.add_argument(
        "--config", help="the model and the fine-tuning of all trials: configs/prune/study.yaml"
    )
    parser.add_argument("--data", metavar="ROOT", help="the folder of Anny-ReID: data/anny_reid")
    parser.add_argument("--out", metavar="DIR", help="the folder of the trials and of result.json")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="ROOT",
        help="also score zero-shot on this data set; repeatable",
    )
    parser.add_argument("--seeds", type=_numbers, default=[1, 2, 3], help="seeds of the trials (1,2,3)")
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of trials in parallel, one core each (2)",
    )
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=list(METHODS),
        help=f"from {','.join(METHODS)}; amg always runs because it sets the budget",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        choices=["auto", "cpu", "cuda"],
        help="device of pruning and fine-tuning (cpu)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        dest="overrides",
        help="change one value of --config; repeatable",
    )
    parser.add_argument(
        "--report", metavar="RESULT", help="show this result.json instead of running the study"
    )
    parser.add_argument("--picture", metavar="SVG", help="write a chart of the result")
    parser.add_argument("--table", action="store_true", help="print the Markdown table of --report")
    return parser
