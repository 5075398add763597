"""Compare narrower MLPs and fewer blocks with AMG at AMG's cost and with the same fine-tuning: `python -m benchmarks.study.beyond`.

The same command resumes a stopped run, and further --methods, --levels and --seeds add to what OUT holds. `--retime` measures
all latencies again. OUT/beyond.json summarises all trials; OUT/beyond.svg shows mAP against latency.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.host import describe_host
from benchmarks.latency_table.calls import model_call, refuse_gpu
from benchmarks.stats.bootstrap import paired_difference
from benchmarks.steps import run as run_step
from benchmarks.study.beyond.chart import chart
from benchmarks.study.beyond.trials import LEVELS, RECIPES, STUDIED, method_title, model_path, run_trial
from benchmarks.study.context import StudyOptions, study_fingerprint
from benchmarks.study.plan import BUDGET, TEACHER, Trial
from benchmarks.study.results import MILD, spread
from benchmarks.study.trials import Job
from benchmarks.study.waves import LABEL, run_wave
from runtime.console import note
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer
from runtime.stopping import keeping

SCHEMA = 1
BACKEND = "onnxruntime"


def waves(
    methods: Sequence[str], levels: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Trial], list[Trial]]:
    """Return two waves of trials: the teacher and AMG, which sets the budgets, then the other methods, seed by seed.

    Raises ConfigError for an unknown method or level, and for a seed below 1.
    """
    known = [*STUDIED, *RECIPES]
    if unknown := [name for name in methods if name not in known]:
        raise ConfigError(f"--methods {unknown[0]}: choose from {', '.join(known)}")
    if unknown := [name for name in levels if name not in LEVELS]:
        raise ConfigError(f"--levels {unknown[0]}: choose from {', '.join(LEVELS)}")
    if not seeds or min(seeds) < 1:
        raise ConfigError("--seeds: give whole numbers from 1, such as 1,2,3")
    first = [Trial(TEACHER), *(Trial(BUDGET, level, seed) for level in levels for seed in seeds)]
    others = [name for name in methods if name != BUDGET]
    return first, [Trial(name, level, seed) for level in levels for seed in seeds for name in others]


def export_model(job: Job) -> Path:
    """Return the path of the trial's ONNX file; export and gate the model if the file does not exist."""
    path = model_path(job).resolve()
    onnx = path.with_suffix(".onnx")
    if not onnx.exists():
        run_step(["export_onnx.py", str(path), "--out", str(onnx)])
    return onnx


def measure_time(job: Job, rounds: int, *, again: bool) -> dict[str, Any]:
    """Time a trial's model interleaved with the teacher, on one thread at batch 1.

    Returns {teacher_ms, ms, of_teacher, wall_of_teacher, rounds}. `teacher_ms` and `ms` are medians of CPU time: on one thread it
    equals the wall time on a quiet machine, and other processes disturb it less. `of_teacher` is the median of the ratios of single
    rounds, and makes all trials comparable. An earlier measurement is reused, except with `again`.
    """
    path = Path(job.options.out) / "times" / f"{job.trial.name}.json"
    if path.exists() and not again:
        return dict(json.loads(path.read_text()))
    jobs = [Job(job.options, Trial(TEACHER), job.fingerprint), job]
    teacher, pruned = timing.interleave(
        [model_call(export_model(member), BACKEND, 1, 1) for member in jobs], rounds=rounds
    )
    times = {
        "teacher_ms": float(np.median(teacher.cpu_ms)),
        "ms": float(np.median(pruned.cpu_ms)),
        "of_teacher": float(np.median(pruned.cpu_ms / teacher.cpu_ms)),
        "wall_of_teacher": float(np.median(pruned.wall_ms / teacher.wall_ms)),
        "rounds": rounds,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(times) + "\n")
    return times


def compare_with_amg(records: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return {difference, low, high, speed} of one method against AMG.

    `difference` is its mAP minus AMG's, `low` and `high` are the 95 % interval over queries, and `speed` is AMG's time divided by
    the method's time.
    """
    time, amg_time = (np.mean([record["time"]["of_teacher"] for record in side]) for side in (records, amg))
    precisions, amg_precisions = (
        [np.array(record["precisions"]) for record in side] for side in (records, amg)
    )
    return paired_difference(amg_precisions, precisions) | {"speed": float(amg_time / time)}


def group(
    records: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]], mild: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Summarise one method at one level over its seeds, compared with AMG at this level and at the mild one; scores are in 0..1."""
    first = records[0]
    out: dict[str, Any] = {
        "method": first["method"],
        "words": method_title(first["method"]),
        "level": first["level"],
        "seeds": [record["seed"] for record in records],
        "equal_budget": all(record["budget"]["reached"] for record in records if "budget" in record),
        "macs_folded": spread([float(record["macs"]["macs_folded"]) for record in records]),
        "params": spread([float(record["params"]) for record in records]),
        "mAP": spread([float(np.mean(record["precisions"])) for record in records]),
        "R1": spread([float(np.mean(record["firsts"])) for record in records]),
    }
    out |= {key: [record[key] for record in records] for key in ("heads", "tokens", "hidden")}
    if "untuned" in first:
        out["untuned"] = spread([record["untuned"]["mAP"] for record in records])
        for key in ("of_teacher", "wall_of_teacher"):
            out[key] = spread([record["time"][key] for record in records])
        predicted = [record["predicted"] for record in records]
        out["predicted"] = None if None in predicted else spread(predicted)
    if first["method"] not in (BUDGET, TEACHER):
        out |= {"against_amg": compare_with_amg(records, amg)} if amg else {}
        out |= {"against_mild_amg": compare_with_amg(records, mild)} if mild else {}
    return out


def gather(out: Path, jobs: Sequence[Job], table: Path | None) -> dict[str, Any]:
    """Return the result of `jobs`, which are finished and timed; `table` is a latency table for predictions, or None."""
    from prune.budget_search.latency import read_table
    from prune.model.file import load_model

    records = []
    for job in jobs:
        record = json.loads(job.path.read_text())
        if job.trial.method != TEACHER:
            record["time"] = json.loads((out / "times" / f"{job.trial.name}.json").read_text())
            shape = load_model(model_path(job))[0].shape
            latencies = None if table is None else read_table(table, shape)
            ms = None if latencies is None else latencies.shape_ms(shape)
            model_ms = None if table is None else json.loads(table.read_text())["model_ms"]
            record["predicted"] = None if ms is None or model_ms is None else ms / model_ms
        records.append(record)
    order = [(TEACHER, "")] + [(name, level) for level in LEVELS for name in (*STUDIED, *RECIPES)]
    groups = []
    for key in order:
        matching = [record for record in records if (record["method"], record["level"]) == key]
        amg, mild = (
            [record for record in records if (record["method"], record["level"]) == (BUDGET, level)]
            for level in (key[1], MILD)
        )
        if matching:
            groups.append(group(matching, amg, mild))
    times = [record["time"]["teacher_ms"] for record in records if "time" in record]
    return {
        "schema": SCHEMA,
        "kind": "beyond",
        "label": LABEL,
        "asked": jobs[0].fingerprint,
        "host": describe_host(device="cpu", threads=1),
        "engine": BACKEND,
        "batch": 1,
        "teacher_ms": median(times) if times else None,
        "groups": groups,
    }


def finished_jobs(out: Path, options: StudyOptions, fingerprint: dict[str, Any]) -> list[Job]:
    """Return the jobs of all finished trials in `out` that have this fingerprint, by seed and name."""
    jobs = []
    for path in sorted((out / "cells").glob("*.json")):
        record = json.loads(path.read_text())
        if record["asked"] == fingerprint:
            jobs.append(Job(options, Trial(record["method"], record["level"], record["seed"]), fingerprint))
    return sorted(jobs, key=lambda job: job.trial.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the missing trials, time their models, and write OUT/beyond.json and OUT/beyond.svg."""
    args = _parser().parse_args(argv)
    if args.table is not None:
        refuse_gpu(json.loads(args.table.read_text()), args.table)
    options = StudyOptions(args.weights, args.config, args.data, str(args.out))
    fingerprint = study_fingerprint(options)
    for wave in waves(args.methods, args.levels, args.seeds):
        run_wave([Job(options, trial, fingerprint) for trial in wave], args.jobs, run_trial)
    jobs = finished_jobs(args.out, options, fingerprint)
    with keeping(
        lambda: "all trials and the times listed above are kept; run the same command again to resume"
    ):
        for job in jobs:
            if job.trial.method != TEACHER:
                measure_time(job, args.rounds, again=args.retime)
                note(f"{job.trial.name} is timed")
    result = gather(args.out, jobs, args.table)
    search = None if args.search is None else json.loads(args.search.read_text())
    for name, text in (
        ("beyond.json", json.dumps(result, indent=1, allow_nan=False) + "\n"),
        ("beyond.svg", chart(result, search)),
    ):
        with replacing(args.out / name) as temporary:
            temporary.write_text(text)
        note(f"wrote {args.out / name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.beyond", description=main.__doc__)
    parser.add_argument("--weights", required=True, help="the teacher, a model.safetensors")
    parser.add_argument(
        "--config",
        required=True,
        help="the model and the fine-tuning of all trials: configs/prune/study.yaml",
    )
    parser.add_argument(
        "--data", required=True, metavar="ROOT", help="the folder of Anny-ReID: data/anny_reid"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder of the trials and of beyond.json"
    )
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=["random", *RECIPES],
        help=f"from random,{','.join(RECIPES)}; amg always runs because it sets the budget",
    )
    parser.add_argument(
        "--levels", type=lambda text: text.split(","), default=list(LEVELS), help=f"from {','.join(LEVELS)}"
    )
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 2, 3],
        help="seeds of the trials (1,2,3)",
    )
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of trials in parallel (2)",
    )
    parser.add_argument(
        "--rounds", type=positive_integer, default=60, metavar="N", help="timed runs of each model (60)"
    )
    parser.add_argument("--retime", action="store_true", help="measure all latencies again")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="TABLE.json",
        help="a table from benchmarks.latency_table, to predict the latencies as well",
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="S.json",
        help="a result of benchmarks.experiments.search_report, to show in the chart as well",
    )
    return parser
