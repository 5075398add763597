"""Time each pruned model of `benchmarks.study.beyond` together with the teacher, and summarise the trials. Parses no command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.host import describe_host
from benchmarks.json_files import NUMBER, PART, POSITIVE, listed, members, read_document
from benchmarks.latency_table.calls import model_call
from benchmarks.latency_table.table import read_cpu_table
from benchmarks.stats.bootstrap import paired_difference
from benchmarks.steps import run as run_step
from benchmarks.study.beyond.recipes import LEVELS, RECIPES, STUDIED, method_title
from benchmarks.study.beyond.trials import model_path
from benchmarks.study.files import COMMON_MEMBERS, PRUNED, read_record, read_records
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import BUDGET, TEACHER, Trial
from benchmarks.study.results import MILD, spread
from benchmarks.study.trials import Job
from benchmarks.study.waves import LABEL
from runtime.files.manifest import replacing
from runtime.host import stopwatch

SCHEMA = 1
BACKEND = "onnxruntime"
BEYOND = members(
    {
        **COMMON_MEMBERS,
        "params": NUMBER,
        "hidden": listed(NUMBER),
        "precisions": listed(PART, least=1),
        "firsts": listed(NUMBER, least=1),
    },
    {**PRUNED, "untuned": members({"mAP": PART})},
)
TIME = members({key: POSITIVE for key in ("teacher_ms", "ms", "of_teacher", "wall_of_teacher")})


def export_model(job: Job) -> Path:
    """Return the path of the ONNX file of a trial's model. If the file does not exist, export_onnx.py makes and checks it first.

    Raises StepFailed if the export fails.
    """
    path = model_path(job).resolve()
    onnx = path.with_suffix(".onnx")
    if not onnx.exists():
        run_step(["export_onnx.py", str(path), "--out", str(onnx)])
    return onnx


def measure_time(job: Job, rounds: int, *, again: bool) -> dict[str, Any]:
    """Time a trial's model and the teacher on one thread at batch size 1. Each of `rounds` rounds calls both models once.

    Returns {teacher_ms, ms, of_teacher, wall_of_teacher, rounds}. `teacher_ms` and `ms` are the median CPU times of a call of the
    teacher and of the trial's model. With one thread, the CPU time equals the wall time on an idle machine, and other processes
    disturb it less. `of_teacher` is the CPU time of the model divided by that of the teacher in the same round, as the median over
    the rounds. `wall_of_teacher` is the same for wall times. The times are also written to OUT/times/TRIAL.json. If this file
    exists, its times are returned and nothing is measured, unless `again` is True.
    """
    path = Path(job.options.out) / "times" / f"{job.trial.name}.json"
    if path.exists() and not again:
        return read_time(path)
    jobs = [Job(job.options, Trial(TEACHER), job.fingerprint), job]
    teacher, pruned = stopwatch.interleave(
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


def read_time(path: Path) -> dict[str, Any]:
    """Return what `measure_time` wrote to the file at `path`. Raises ConfigError if the file is missing or damaged."""
    advice = "measure the latencies again with --retime"
    times: dict[str, Any] = read_document(path, TIME, expected="the times of a trial", advice=advice)
    return times


def compare_with_amg(records: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare a method with AMG, and return {difference, low, high, speed}.

    `records` are the records of the method's trials and `amg` those of AMG's trials, one for each seed. `difference` is the mean mAP
    (0..1) of the method minus that of AMG, and `low` and `high` are its 95 % interval, from a bootstrap over the queries. `speed` is
    AMG's mean latency divided by the method's.
    """
    time, amg_time = (np.mean([record["time"]["of_teacher"] for record in side]) for side in (records, amg))
    precisions, amg_precisions = (
        [np.array(record["precisions"]) for record in side] for side in (records, amg)
    )
    return paired_difference(amg_precisions, precisions) | {"speed": float(amg_time / time)}


def group(
    records: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]], mild: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the entry of one method at one level in beyond.json: means and deviations over the seeds, and comparisons with AMG.

    `records` are the records of the trials, one for each seed. `amg` are those of AMG at the same level, and `mild` those of AMG at
    the mildest level. If one of the two is empty, the comparison with it is left out. Scores are in 0..1.
    """
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
    """Return the content of beyond.json. `jobs` are the finished and timed trials, whose files are in the folder `out`.

    `table` is the path of a latency table from which the latencies are also predicted, or None. Raises ConfigError for a damaged file.
    """
    from prune.budget_search.latency import read_table
    from prune.model.file import load_model

    records = []
    for job in jobs:
        record = read_record(job.path, BEYOND)
        if job.trial.method != TEACHER:
            record["time"] = read_time(out / "times" / f"{job.trial.name}.json")
            architecture = load_model(model_path(job))[0].architecture
            latencies = None if table is None else read_table(table, architecture)
            ms = None if latencies is None else latencies.architecture_ms(architecture)
            model_ms = None if table is None else read_cpu_table(table)["model_ms"]
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
    """Return the finished trials in the folder `out` whose study has this `fingerprint`, sorted by seed and then by name.

    `options` are the options of the study, which the returned jobs hold.
    """
    records = read_records(out, fingerprint, BEYOND)
    trials = [Trial(record["method"], record["level"], record["seed"]) for record in records]
    return sorted((Job(options, trial, fingerprint) for trial in trials), key=lambda job: job.trial.seed)
