"""Compare AMG pruning with other pruning methods at equal cost: `python -m benchmarks.study`.

All methods prune the same teacher and get the same fine-tuning. Each combination of method, level and seed is a trial, which writes
one file to OUT/cells. OUT/result.json summarises all trials. If the study is stopped, the same command resumes it. With `--report
RESULT --picture F.svg --table`, the command shows an existing result.
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
    """A study to run: its `methods` and `seeds`, the number of trials that run in parallel (`jobs`), and the path of its chart.

    `study` names its files and its device. If `chart_path` is None, no chart is drawn.
    """

    study: StudyOptions
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int
    chart_path: str | None


@dataclass(frozen=True)
class ShowOptions:
    """A study's result.json to show, at the path `result`.

    Its chart is written to `chart_path`, unless that is None. Its table is printed if `table` is True.
    """

    result: Path
    chart_path: str | None
    table: bool


def parse(argv: Sequence[str] | None) -> CompareOptions | ShowOptions:
    """Parse a command line into ShowOptions if it has --report, and else into CompareOptions.

    Raises ConfigError if a required option is missing, or if two --other folders have the same name.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description="Compare pruning methods at equal cost."
    )
    parser.add_argument(
        "--weights", help="the teacher, which all methods prune and learn from: a model.safetensors"
    )
    parser.add_argument(
        "--config",
        help="configuration of the model and the fine-tuning of all trials, such as configs/prune/study.yaml",
    )
    parser.add_argument("--data", metavar="ROOT", help="folder of Anny-ReID, such as data/anny_reid")
    parser.add_argument("--out", metavar="DIR", help="folder for the files of the trials and for result.json")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="ROOT",
        help="folder of another data set on which the models are also scored, without training on it; the option may be repeated",
    )
    parser.add_argument(
        "--seeds", type=positive_integers, default=(1, 2, 3), help="seeds of the trials (default: 1,2,3)"
    )
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of trials that run in parallel, each on one core (default: %(default)s)",
    )
    parser.add_argument(
        "--methods",
        type=names,
        default=tuple(METHODS),
        help=f"methods to compare, separated by commas (default: all of {','.join(METHODS)}); amg always runs, because its "
        "cost is the budget of the other methods",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        choices=["auto", "cpu", "cuda"],
        help="device for pruning and fine-tuning (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        dest="overrides",
        help="change one value of the configuration; the option may be repeated",
    )
    parser.add_argument("--report", metavar="RESULT", help="show this result.json instead of running a study")
    parser.add_argument("--picture", metavar="SVG", help="write a chart of the result to this file")
    parser.add_argument(
        "--table", action="store_true", help="with --report: print the result as a Markdown table"
    )
    args = parser.parse_args(argv)
    if args.report:
        return ShowOptions(Path(args.report), args.picture, args.table)
    if not (args.weights and args.config and args.data and args.out):
        raise ConfigError(
            "a required option is missing; give --weights, --config, --data and --out to run a study, or --report RESULT to show one"
        )
    others = tuple(args.other)
    if len({Path(root).name for root in others}) < len(others):
        raise ConfigError(
            "--other: two folders have the same name, but the result names each data set after its folder; rename one of them"
        )
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
    """Run the unfinished trials of the study, print the table of all its trials, and write the chart if its path is given."""
    from benchmarks.study.run import run_study

    result = run_study(options.study, waves(options.methods, options.seeds), options.jobs)
    show(result, chart_path=options.chart_path, table=True)


def show(result: dict[str, Any], *, chart_path: str | None, table: bool) -> None:
    """Write the chart of a study to `chart_path`, unless that is None, and print its Markdown table if `table` is True.

    `result` is the content of the study's result.json.
    """
    if chart_path:
        with replacing(chart_path) as temporary:
            temporary.write_text(chart(result), encoding="utf-8")
        note(f"wrote {chart_path}")
    if table:
        print(markdown(result))
