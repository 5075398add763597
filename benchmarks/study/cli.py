"""Compare AMG pruning with other criteria for the same teacher, fine-tuning and cost: `python -m benchmarks.study`.

Every combination of method, level and seed is a trial with a record of its own in OUT/cells. The same command resumes a stopped
study. OUT/result.json summarises all trials; `--report RESULT --picture F.svg --table` shows a result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.study.chart import chart
from benchmarks.study.files import read_result
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import METHODS, waves
from benchmarks.study.report import markdown
from runtime.console import note
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import names, positive_integer, positive_integers


@dataclass(frozen=True)
class CompareOptions:
    """A study to run: its methods and seeds, the number of trials in parallel, and the path of its chart."""

    study: StudyOptions
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int
    chart_path: str | None


@dataclass(frozen=True)
class ShowOptions:
    """A result to show: its path, the path of its chart, and whether its table is printed."""

    result: Path
    chart_path: str | None
    table: bool


def parse(argv: Sequence[str] | None) -> CompareOptions | ShowOptions:
    """Return the options of a command line; raises ConfigError for options that do not belong together."""
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
    parser.add_argument(
        "--seeds", type=positive_integers, default=(1, 2, 3), help="seeds of the trials (1,2,3)"
    )
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of trials in parallel, one core each (2)",
    )
    parser.add_argument(
        "--methods",
        type=names,
        default=tuple(METHODS),
        help=f"the methods to compare, separated by commas, from {','.join(METHODS)}; amg always runs because it sets the budget",
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
    args = parser.parse_args(argv)
    if args.report:
        return ShowOptions(Path(args.report), args.picture, args.table)
    if not (args.weights and args.config and args.data and args.out):
        raise ConfigError("give --weights, --config, --data and --out, or --report RESULT")
    others = tuple(args.other)
    if len({Path(root).name for root in others}) < len(others):
        raise ConfigError("the --other folders must have different names")
    study = StudyOptions(
        args.weights, args.config, args.data, args.out, others, tuple(args.overrides), args.device
    )
    return CompareOptions(study, args.methods, args.seeds, args.jobs, args.picture)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare pruning methods at equal cost, or show the result of a comparison."""
    options = parse(argv)
    if isinstance(options, ShowOptions):
        show(read_result(options.result), chart_path=options.chart_path, table=options.table)
    else:
        compare(options)
    return 0


def compare(options: CompareOptions) -> None:
    """Run the trials that are not finished, and show the result of all of them."""
    from benchmarks.study.run import run_study

    result = run_study(options.study, waves(options.methods, options.seeds), options.jobs)
    show(result, chart_path=options.chart_path, table=True)


def show(result: dict[str, Any], *, chart_path: str | None, table: bool) -> None:
    """Write the chart of a result to `chart_path` and print its table, each if asked for."""
    if chart_path:
        with replacing(chart_path) as temporary:
            temporary.write_text(chart(result), encoding="utf-8")
        note(f"wrote {chart_path}")
    if table:
        print(markdown(result))
