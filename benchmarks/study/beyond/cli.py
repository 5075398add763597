"""Compare AMG with pruning MLP neurons or whole blocks at the same cost: `python -m benchmarks.study.beyond`.

All methods prune the same teacher and get the same fine-tuning. Each combination of method, level and seed is a trial. OUT/beyond.json
summarises all trials in the folder OUT, and OUT/beyond.svg shows mAP against latency. If the command is stopped, the same command
resumes it. With other --methods, --levels or --seeds, it adds trials to OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.json_files import PART, POSITIVE, TEXT, listed, members, read_document
from benchmarks.latency_table.table import read_cpu_table
from benchmarks.study.beyond.chart import chart
from benchmarks.study.beyond.recipes import LEVELS, RECIPES, waves
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import TEACHER
from runtime.console import note
from runtime.files.manifest import replacing
from runtime.options.argument_types import names, positive_integer, positive_integers
from runtime.stopping import keeping

RUN = members({"measured_ms": POSITIVE, "mAP": PART})
SEARCH = members(
    {"whole_ms": POSITIVE, "groups": listed(members({"name": TEXT, "runs": listed(RUN, least=1)}))}
)


@dataclass(frozen=True)
class BeyondOptions:
    """The study to run: its methods, levels and seeds, the number of trials that run in parallel (`jobs`), and how models are timed.

    Each model is timed for `rounds` calls. With `retime`, latencies that were measured earlier are measured again. `table` is the path
    of a latency table from which the latencies are also predicted, or None. `search` is the path of a result of
    `benchmarks.experiments.search_report` whose methods the chart also shows, or None.
    """

    study: StudyOptions
    methods: tuple[str, ...]
    levels: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int
    rounds: int
    retime: bool
    table: Path | None
    search: Path | None


def parse(argv: Sequence[str] | None) -> BeyondOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.beyond", description=main.__doc__)
    parser.add_argument(
        "--weights",
        required=True,
        help="the teacher, which all methods prune and learn from: a model.safetensors",
    )
    parser.add_argument(
        "--config",
        required=True,
        help="configuration of the model and the fine-tuning of all trials, such as configs/prune/study.yaml",
    )
    parser.add_argument(
        "--data", required=True, metavar="ROOT", help="folder of Anny-ReID, such as data/anny_reid"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for the files of the trials and for the results",
    )
    parser.add_argument(
        "--methods",
        type=names,
        default=("random", *RECIPES),
        help=f"methods to compare, separated by commas (default: all of random,{','.join(RECIPES)}); amg always runs, "
        "because its cost is the budget of the other methods",
    )
    parser.add_argument(
        "--levels",
        type=names,
        default=tuple(LEVELS),
        help="pruning levels, separated by commas; at h25_t25, amg removes 25 %% of the heads and 25 %% of the tokens "
        f"(default: all of {','.join(LEVELS)})",
    )
    parser.add_argument(
        "--seeds",
        type=positive_integers,
        default=(1, 2, 3),
        help="seeds of the trials (default: 1,2,3)",
    )
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of trials that run in parallel (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=60,
        metavar="N",
        help="number of timed runs of each model (default: %(default)s)",
    )
    parser.add_argument("--retime", action="store_true", help="measure all latencies again")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="TABLE.json",
        help="a latency table from benchmarks.latency_table; the latencies are also predicted from it",
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="S.json",
        help="a result of benchmarks.experiments.search_report; the chart also shows its methods",
    )
    args = parser.parse_args(argv)
    return BeyondOptions(
        StudyOptions(args.weights, args.config, args.data, args.out),
        args.methods,
        args.levels,
        args.seeds,
        args.jobs,
        args.rounds,
        args.retime,
        args.table,
        args.search,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compare AMG with pruning MLP neurons or whole blocks at the same cost, and write OUT/beyond.json and OUT/beyond.svg."""
    return compare(parse(argv))


def compare(options: BeyondOptions) -> int:
    """Run the unfinished trials, time the models that are not timed yet, and write beyond.json and beyond.svg. Returns exit code 0.

    Raises ConfigError if `options.table` or `options.search` is damaged.
    """
    from benchmarks.study.beyond.run import finished_jobs, gather, measure_time
    from benchmarks.study.beyond.trials import run_trial
    from benchmarks.study.context import study_fingerprint
    from benchmarks.study.trials import Job
    from benchmarks.study.waves import run_wave

    study, out = options.study, Path(options.study.out)
    # Read these files first, so that the command fails before it measures if one of them is damaged.
    if options.table is not None:
        read_cpu_table(options.table)
    search = None
    if options.search is not None:
        advice = "give a result of benchmarks.experiments.search_report"
        search = read_document(options.search, SEARCH, expected="a result of search_report", advice=advice)
    fingerprint = study_fingerprint(study)
    for wave in waves(options.methods, options.levels, options.seeds):
        run_wave([Job(study, trial, fingerprint) for trial in wave], options.jobs, run_trial)
    jobs = finished_jobs(out, study, fingerprint)
    with keeping(
        lambda: "all trials and the latencies measured so far are kept; the same command measures the others"
    ):
        for job in jobs:
            if job.trial.method != TEACHER:
                measure_time(job, options.rounds, again=options.retime)
                note(f"measured the latency of trial {job.trial.name}")
    result = gather(out, jobs, options.table)
    for name, text in (
        ("beyond.json", json.dumps(result, indent=1, allow_nan=False) + "\n"),
        ("beyond.svg", chart(result, search)),
    ):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
        note(f"wrote {out / name}")
    return 0
