"""What pays beyond AMG? `python -m benchmarks.study.beyond`: narrower MLPs and fewer blocks at AMG's cost, the same fine-tuning.

A stopped run goes on with the same command, and further --methods, --levels and --seeds add to what is in OUT; `--retime`
measures the latencies anew. OUT/beyond.json is what all cells say together, OUT/beyond.svg shows mAP against latency.
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
from benchmarks.stats.bootstrap import difference
from benchmarks.steps import run as run_step
from benchmarks.study.beyond.picture import picture
from benchmarks.study.beyond.trials import LEVELS, RECIPES, STUDIED, model_path, run_cell, words
from benchmarks.study.context import Setting, asked
from benchmarks.study.plan import BUDGET, TEACHER, Cell
from benchmarks.study.results import MILD, spread
from benchmarks.study.trials import Job
from benchmarks.study.waves import LABEL, run_wave
from runtime.console import note
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer
from runtime.stopping import keeping

SCHEMA = 1
ENGINE = "onnxruntime"


def waves(
    methods: Sequence[str], levels: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Cell], list[Cell]]:
    """(the teacher and AMG, which sets the budgets; the other methods' cells, seed by seed); ConfigError for unknown ones."""
    known = [*STUDIED, *RECIPES]
    if wrong := [name for name in methods if name not in known]:
        raise ConfigError(f"--methods {wrong[0]}: choose from {', '.join(known)}")
    if wrong := [name for name in levels if name not in LEVELS]:
        raise ConfigError(f"--levels {wrong[0]}: choose from {', '.join(LEVELS)}")
    if not seeds or min(seeds) < 1:
        raise ConfigError("--seeds: give whole numbers from 1, such as 1,2,3")
    first = [Cell(TEACHER), *(Cell(BUDGET, level, seed) for level in levels for seed in seeds)]
    others = [name for name in methods if name != BUDGET]
    return first, [Cell(name, level, seed) for level in levels for seed in seeds for name in others]


def exported(job: Job) -> Path:
    """The cell's model as ONNX beside it, exported and gated where it is not there yet."""
    path = model_path(job).resolve()
    onnx = path.with_suffix(".onnx")
    if not onnx.exists():
        run_step(["export_onnx.py", str(path), "--out", str(onnx)])
    return onnx


def timed(job: Job, rounds: int, *, again: bool) -> dict[str, Any]:
    """{teacher_ms, ms, of_teacher, wall_of_teacher} of a cell, interleaved with the teacher, on one thread, batch 1.

    `teacher_ms` and `ms` are medians of CPU time, which on one thread is the wall's where the machine is quiet, and survives
    neighbours where it is not; `of_teacher` is the median of the rounds' ratios, the common yardstick of all cells.
    """
    path = Path(job.setting.out) / "times" / f"{job.cell.name}.json"
    if path.exists() and not again:
        return dict(json.loads(path.read_text()))
    pair = [Job(job.setting, Cell(TEACHER), job.asked), job]
    samples = timing.interleave([model_call(exported(one), ENGINE, 1, 1) for one in pair], rounds=rounds)
    teacher, mine = samples
    found = {
        "teacher_ms": float(np.median(teacher.cpu_ms)),
        "ms": float(np.median(mine.cpu_ms)),
        "of_teacher": float(np.median(mine.cpu_ms / teacher.cpu_ms)),
        "wall_of_teacher": float(np.median(mine.wall_ms / teacher.wall_ms)),
        "rounds": rounds,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found) + "\n")
    return found


def against(lines: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{difference, low, high} of mAP - AMG's mAP, its 95 % interval over queries; {speed}: AMG's time over this one's."""
    share, theirs = (np.mean([line["time"]["of_teacher"] for line in side]) for side in (lines, amg))
    ours, others = ([np.array(line["precisions"]) for line in side] for side in (lines, amg))
    return difference(others, ours) | {"speed": float(theirs / share)}


def group(
    lines: Sequence[dict[str, Any]], amg: Sequence[dict[str, Any]], mild: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What one method reached at one level over its seeds, against AMG at this level and at the mildest; scores 0..1."""
    first = lines[0]
    out: dict[str, Any] = {
        "method": first["method"],
        "words": words(first["method"]),
        "level": first["level"],
        "seeds": [line["seed"] for line in lines],
        "equal_budget": all(line["budget"]["reached"] for line in lines if "budget" in line),
        "macs_folded": spread([float(line["macs"]["macs_folded"]) for line in lines]),
        "params": spread([float(line["params"]) for line in lines]),
        "mAP": spread([float(np.mean(line["precisions"])) for line in lines]),
        "R1": spread([float(np.mean(line["firsts"])) for line in lines]),
    }
    out |= {key: [line[key] for line in lines] for key in ("heads", "tokens", "hidden")}
    if "untuned" in first:
        out["untuned"] = spread([line["untuned"]["mAP"] for line in lines])
        for key in ("of_teacher", "wall_of_teacher"):
            out[key] = spread([line["time"][key] for line in lines])
        predicted = [line["predicted"] for line in lines]
        out["predicted"] = None if None in predicted else spread(predicted)
    if first["method"] not in (BUDGET, TEACHER):
        out |= {"against_amg": against(lines, amg)} if amg else {}
        out |= {"against_mild_amg": against(lines, mild)} if mild else {}
    return out


def gather(out: Path, jobs: Sequence[Job], table: Path | None) -> dict[str, Any]:
    """The result of every finished cell in OUT that was asked the same; `jobs` have been timed."""
    from prune.budget_search.latency import read_table
    from prune.model.file import load_model

    lines = []
    for job in jobs:
        line = json.loads(job.path.read_text())
        if job.cell.method != TEACHER:
            line["time"] = json.loads((out / "times" / f"{job.cell.name}.json").read_text())
            shape = load_model(model_path(job))[0].shape
            found = None if table is None else read_table(table, shape)
            ms = None if found is None else found.shape_ms(shape)
            whole = None if table is None else json.loads(table.read_text())["model_ms"]
            line["predicted"] = None if ms is None or whole is None else ms / whole
        lines.append(line)
    order = [(TEACHER, "")] + [(name, level) for level in LEVELS for name in (*STUDIED, *RECIPES)]
    groups = []
    for key in order:
        mine = [line for line in lines if (line["method"], line["level"]) == key]
        amg, mild = (
            [line for line in lines if (line["method"], line["level"]) == (BUDGET, level)]
            for level in (key[1], MILD)
        )
        if mine:
            groups.append(group(mine, amg, mild))
    times = [line["time"]["teacher_ms"] for line in lines if "time" in line]
    return {
        "schema": SCHEMA,
        "kind": "beyond",
        "label": LABEL,
        "asked": jobs[0].asked,
        "host": describe_host(device="cpu", threads=1),
        "engine": ENGINE,
        "batch": 1,
        "teacher_ms": median(times) if times else None,
        "groups": groups,
    }


def known(out: Path, setting: Setting, wanted: dict[str, Any]) -> list[Job]:
    """The jobs of every cell that OUT holds and that was asked `wanted`, by name."""
    found = []
    for path in sorted((out / "cells").glob("*.json")):
        line = json.loads(path.read_text())
        if line["asked"] == wanted:
            found.append(Job(setting, Cell(line["method"], line["level"], line["seed"]), wanted))
    return sorted(found, key=lambda job: job.cell.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the cells that are missing, time them, and write OUT/beyond.json and OUT/beyond.svg."""
    args = _parser().parse_args(argv)
    if args.table is not None:
        refuse_gpu(json.loads(args.table.read_text()), args.table)
    setting = Setting(args.weights, args.config, args.data, str(args.out))
    wanted = asked(setting)
    for wave in waves(args.methods, args.levels, args.seeds):
        run_wave([Job(setting, cell, wanted) for cell in wave], args.jobs, run_cell)
    jobs = known(args.out, setting, wanted)
    with keeping(
        lambda: (
            "all cells, and the times of those said above, are kept; the same command goes on with the rest"
        )
    ):
        for job in jobs:
            if job.cell.method != TEACHER:
                timed(job, args.rounds, again=args.retime)
                note(f"{job.cell.name} is timed")
    result = gather(args.out, jobs, args.table)
    search = None if args.search is None else json.loads(args.search.read_text())
    for name, text in (
        ("beyond.json", json.dumps(result, indent=1, allow_nan=False) + "\n"),
        ("beyond.svg", picture(result, search)),
    ):
        with replacing(args.out / name) as temporary:
            temporary.write_text(text)
        note(f"wrote {args.out / name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.beyond", description=main.__doc__)
    parser.add_argument("--weights", required=True, help="the teacher: model.safetensors")
    parser.add_argument("--config", required=True, help="configs/prune/study.yaml")
    parser.add_argument("--data", required=True, metavar="ROOT", help="Anny-ReID: data/anny_reid")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=["random", *RECIPES],
        help=f"random,{','.join(RECIPES)}; amg always runs, it sets the budget",
    )
    parser.add_argument(
        "--levels", type=lambda text: text.split(","), default=list(LEVELS), help=",".join(LEVELS)
    )
    parser.add_argument(
        "--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 3], help="1,2,3"
    )
    parser.add_argument("--jobs", type=positive_integer, default=2, metavar="N", help="cells at a time (2)")
    parser.add_argument(
        "--rounds", type=positive_integer, default=60, metavar="N", help="runs of each model (60)"
    )
    parser.add_argument("--retime", action="store_true", help="measure all latencies anew")
    parser.add_argument(
        "--table", type=Path, metavar="TABLE.json", help="of benchmarks.latency_table, for predictions"
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="S.json",
        help="benchmarks.experiments.search_report's, into the picture",
    )
    return parser
