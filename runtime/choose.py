"""`python -m runtime choose`: every CPU engine on one model, judged by its gate and timed side by side."""

from __future__ import annotations

import os
import random
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console
from runtime.check import Check, judge, load_check
from runtime.choice import this_machine, write_choice
from runtime.errors import ConfigError, DeviceError, GateError
from runtime.gate import engine_limits
from runtime.library import BrokenLibrary
from runtime.manifest import ENGINES as TENSORRT
from runtime.preprocess import to_input
from runtime.session import ENGINES, Artifact, load_artifact
from runtime.spec import InputSpec

Call = Callable[[int], object]
Clock = Callable[[], float]

MIN_ROUNDS = 10
# As many different batches as an engine sees before they repeat.
FEEDS = 16
# An engine further from the parent's numbers must be faster than a nearer one by this part.
MARGIN = 0.03
# A load average above this part of the cores: somebody else works here, and engines suffer differently from that.
BUSY = 0.5


def choose_engine(args: Namespace) -> None:
    """Print how each engine does on the model, and write the fastest that passes to `<model>.choice.json`.

    GateError when none passes: `--engine auto` then refuses the model.
    """
    path = Path(args.model)
    if path.suffix in TENSORRT:
        raise ConfigError(f"{path}: choose compares what runs an .onnx file on this CPU; give the .onnx file")
    if (load := load_average()) is not None and load > BUSY * (os.cpu_count() or 1):
        console.note(f"WARNING load average {load:.1f} on {os.cpu_count()} cores: choose on an idle machine")
    document = measure(path, threads=args.threads, batch=args.batch, seconds=args.seconds)
    written = write_choice(path, document)
    if args.json:
        console.print_json(document)
    else:
        columns = ["engine", "gate", "cosine min", "p50 ms", "p95 ms", "CPU ms", "products"]
        console.print_table(str(path), columns, [_shown(row) for row in document["rows"]])
    if document["chosen"] is None:
        raise GateError(
            f"{path}: no engine passes its gate here, see {written}; export it in a higher --precision"
        )
    console.note(f"chosen: {document['chosen']}, for --engine auto; written to {written}")


def measure(
    path: Path, *, threads: int | None = None, batch: int | None = None, seconds: float = 3.0
) -> dict[str, Any]:
    """{model, processor, cores, versions, threads, batch, load_average, rows[], chosen} of the ONNX file at `path`.

    `threads` None: all cores. One row for each of ENGINES: {engine, passed, failures, numbers, latency_ms, cpu_ms, rounds},
    or {engine, missing} for one that this machine does not have. Times are of one call, all engines interleaved.
    """
    load = load_average()
    rows: list[dict[str, Any]] = []
    opened: list[tuple[dict[str, Any], Artifact]] = []
    for engine in ENGINES:
        row: dict[str, Any] = {"engine": engine}
        rows.append(row)
        try:
            opened.append((row, load_artifact(path, threads=threads, engine=engine)))
        # without an engine that should be there the choice would be another
        except BrokenLibrary:
            raise
        except DeviceError as error:
            row["missing"] = str(error)
    if not opened:
        raise DeviceError(
            f"{path}: no engine for this CPU is installed; pip install '.[cpu]' or '.[openvino]'"
        )
    model = opened[0][1]
    size = _batch(model, batch)
    check = load_check(path, model.manifest)
    for row, artifact in opened:
        row |= _judged(check, artifact, row["engine"], size)
    sound = [(row, artifact) for row, artifact in opened if row["passed"]]
    inputs = _feeds(check, model.spec, size)
    calls = [_call(artifact, inputs) for _, artifact in sound]
    for (row, artifact), (wall, cpu) in zip(sound, interleave(calls, seconds=seconds)):
        row |= {
            "latency_ms": {f"p{point}": float(np.percentile(wall, point)) for point in (50, 95)},
            "cpu_ms": float(np.median(cpu)),
            "rounds": len(wall),
            "products": getattr(artifact.run, "matmul_types", dict)(),
        }
    found = {"model": model.sha256, "threads": threads, "batch": size, "load_average": load, "rows": rows}
    return found | this_machine() | {"chosen": choose(rows)}


def choose(rows: Sequence[dict[str, Any]]) -> str | None:
    """The engine of the fastest row that passed its gate, or None; rows are ordered from the nearest to the parent.

    A row replaces an earlier one only when its p50 is lower by more than MARGIN.
    """
    best: dict[str, Any] | None = None
    for row in rows:
        if not row.get("passed"):
            continue
        if best is None or row["latency_ms"]["p50"] < (1 - MARGIN) * best["latency_ms"]["p50"]:
            best = row
    return best["engine"] if best else None


def interleave(
    calls: Sequence[Call],
    *,
    seconds: float,
    clocks: tuple[Clock, Clock] = (time.perf_counter, time.process_time),
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(wall ms, CPU ms) of every round, for each call: all once a round, in a new (seeded) order each time.

    A call gets the number of the round. At least MIN_ROUNDS, and until `seconds` per call have gone.
    """
    wall, cpu = clocks
    for call in calls:
        for turn in range(3):
            call(turn)
    order = random.Random(0)
    times: list[list[tuple[float, float]]] = [[] for _ in calls]
    started, turn = wall(), 0
    while calls and (turn < MIN_ROUNDS or wall() - started < seconds * len(calls)):
        for index in order.sample(range(len(calls)), len(calls)):
            before = wall(), cpu()
            calls[index](turn)
            after = wall(), cpu()
            times[index].append((1000 * (after[0] - before[0]), 1000 * (after[1] - before[1])))
        turn += 1
    return [(table[:, 0], table[:, 1]) for table in (np.array(row, np.float64) for row in times)]


def load_average() -> float | None:
    """Runnable processes over the last minute; None where the system does not count."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _judged(check: Check, artifact: Artifact, engine: str, batch: int) -> dict[str, Any]:
    limits = engine_limits(artifact.manifest.get("precision", ""), engine)
    console.note(f"{engine}: gate on {len(check.images)} crops")
    try:
        return judge(check, artifact.run, artifact.spec, limits, batch=batch)
    except DeviceError as error:
        return {"passed": False, "failures": [str(error)]}


def _batch(model: Artifact, batch: int | None) -> int:
    fixed = model.spec.batch
    if fixed is not None and batch not in (None, fixed):
        raise ConfigError(f"{model.path}: has a fixed batch; leave --batch out, or give {fixed}")
    return batch or fixed or 1


def _feeds(check: Check, spec: InputSpec, batch: int) -> list[tuple[NDArray[Any], NDArray[np.int64] | None]]:
    """Different batches of the check's crops as the graph takes them; crops repeat only where there are too few."""
    rows = np.arange(FEEDS * batch).reshape(FEEDS, batch) % len(check.images)
    return [
        (to_input(check.images[row], spec), check.camera_ids[row] if spec.camera == "input" else None)
        for row in rows
    ]


def _call(artifact: Artifact, inputs: Sequence[tuple[NDArray[Any], NDArray[np.int64] | None]]) -> Call:
    return lambda turn: artifact.run(*inputs[turn % len(inputs)])


def _shown(row: dict[str, Any]) -> list[object]:
    if "missing" in row:
        return [row["engine"], row["missing"], "", "", "", "", ""]
    gate = "passed" if row["passed"] else "; ".join(row["failures"])
    cosine = f"{row['numbers']['cosine_min']:.6f}" if "cosine_min" in row.get("numbers", {}) else ""
    latency = row.get("latency_ms", {})
    products = ", ".join(f"{count} {kind}" for kind, count in row.get("products", {}).items())
    times = [latency.get("p50", ""), latency.get("p95", ""), row.get("cpu_ms", "")]
    return [row["engine"], gate, cosine, *times, products]
