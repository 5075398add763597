"""What a run on a device leaves behind, live or recorded, and the document that is made of it. Measures nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.device.power.energy import LEAST_S, Sample, Window, energy, mean_w, total_in
from benchmarks.stats.interval import interval
from engines.trtexec.output import Times, parse

# What trtexec was told, and what its numbers are without it.
PINNED = {"streams": 1, "cuda_graph": True, "spin_wait": True}
# What the session's numbers hold: images come from the host's memory and features go back there.
SESSION = {"transfers": True, "cuda_graph": False, "spin_wait": False}
# Of an engine: `runtime.backends.tensorrt.execution`, which says so where it cannot.
ENGINE_SESSION = SESSION | {"cuda_graph": "from the third call on, where the device allows it"}


@dataclass(frozen=True)
class Scene:
    """One scenario of one model in one window: `wall_ms` of every timed call on `batch` images.

    `images` counts all of the window, warm-up too; `calls` are the (images, size) that the engine runs for one.
    """

    name: str
    batch: int
    wall_ms: Sequence[float]
    images: int
    window: Window
    calls: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Gallery:
    """Extraction of a whole gallery from its files, `passes` times: reading, decoding and resizing are in it."""

    images: int
    passes: int
    batch: int
    window: Window


@dataclass(frozen=True)
class Trtexec:
    """One run of trtexec on `batch` images a query; `output` is all that it printed, None where it did not run: `why`."""

    batch: int
    transfers: bool
    line: Sequence[str] = ()
    output: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class ModelRun:
    """All of one model; `facts` as `benchmarks.candidate.facts` gives them, `accuracy` as `runtime.extraction.accuracy`."""

    facts: Mapping[str, Any]
    scenes: Sequence[Scene]
    trtexec: Sequence[Trtexec] = ()
    gallery: Gallery | None = None
    accuracy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Power:
    """All samples of the run; `sensor` None where none could be read, `idle` the window before anything ran."""

    sensor: str | None
    samples: Sequence[Sample] = ()
    malformed: int = 0
    idle: Window | None = None


@dataclass(frozen=True)
class DeviceRun:
    """Everything a run saw; `images` {source, count}.

    `stopped` is the signal that ended it early, and `missing` what was not measured then.
    `board`, `before`, `after` and `during` (right after each scenario) as `benchmarks.device.board` gives them.
    """

    host: Mapping[str, Any]
    board: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    power: Power
    models: Sequence[ModelRun]
    images: Mapping[str, Any]
    advice: Sequence[str] = ()
    doubts: Sequence[str] = ()
    during: Sequence[Mapping[str, Any]] = ()
    replayed: bool = False
    stopped: str | None = None
    missing: Sequence[str] = ()
    least_s: float = field(default=LEAST_S)


def document(run: DeviceRun) -> dict[str, Any]:
    """The one JSON document of a run: as bench.py's, with {board, state, power, galleries, replayed} and each model's energy."""
    models = [_row(model, scene, run) for model in run.models for scene in model.scenes]
    galleries = [_gallery(model, run) for model in run.models if model.gallery]
    ratios = [_ratio(run.models[0], model, scene) for model in run.models for scene in model.scenes]
    state = {
        "before": dict(run.before),
        "during": list(run.during),
        "after": dict(run.after),
        "commands": list(run.advice),
    }
    return {
        "schema": 1,
        "device": "jetson",
        "replayed": run.replayed,
        "host": dict(run.host),
        "board": dict(run.board),
        "state": state,
        "power": _power(run),
        "images": dict(run.images),
        "models": models,
        "galleries": galleries,
        "complete": run.stopped is None,
        "stopped": run.stopped,
        "missing": list(run.missing),
        "ratios": [one for one in ratios if one],
        "warnings": [*run.doubts, *_doubtful(models, [one["energy"] for one in (*models, *galleries)], run)],
    }


def _row(model: ModelRun, scene: Scene, run: DeviceRun) -> dict[str, Any]:
    wall = np.array(scene.wall_ms, np.float64)
    return {
        **model.facts,
        "scenario": scene.name,
        "batch": scene.batch,
        "engine_calls": [list(call) for call in scene.calls],
        "rounds": len(wall),
        "latency_ms": timing.latency(wall),
        "images_per_s": 1000 * scene.batch / float(wall.mean()),
        "cv": timing.variation(wall),
        "wall_ms": [round(float(ms), 4) for ms in wall],
        "measured": measured_with(model.facts["engine"]),
        "energy": _energy(run, scene.window, scene.images),
        "trtexec": [trtexec_row(one) for one in model.trtexec if one.batch == scene.batch],
        "accuracy": dict(model.accuracy) if model.accuracy else None,
    }


def gallery_row(about: Mapping[str, Any], found: Gallery, joules: Mapping[str, Any]) -> dict[str, Any]:
    """The gallery's part of the document, of the model with these facts; `joules` comes from `benchmarks.device.power.energy`."""
    seconds = found.window.end_s - found.window.start_s
    return {
        "path": about["path"],
        "sha256": about["sha256"],
        "images": found.images,
        "passes": found.passes,
        "batch": found.batch,
        "seconds": seconds,
        "images_per_s": found.images * found.passes / seconds,
        "includes": ["read", "decode", "resize", "infer"],
        "energy": dict(joules),
    }


def measured_with(engine: object) -> dict[str, Any]:
    """{transfers, cuda_graph, spin_wait} of the times of a session on this engine, as trtexec's settings beside them."""
    return ENGINE_SESSION if str(engine).startswith("tensorrt") else SESSION


def _gallery(model: ModelRun, run: DeviceRun) -> dict[str, Any]:
    found = model.gallery
    assert found is not None
    return gallery_row(model.facts, found, _energy(run, found.window, found.images * found.passes))


def _energy(run: DeviceRun, window: Window, images: int) -> dict[str, Any]:
    power = run.power
    return energy(power.samples, window, images=images, idle=power.idle, least_s=run.least_s)


def trtexec_row(one: Trtexec) -> dict[str, Any]:
    """What trtexec printed, as numbers; the settings beside them, so that versions with other defaults compare."""
    asked = {"transfers": one.transfers, **PINNED, "line": list(one.line)}
    report = None if one.output is None else parse(one.output)
    # what was cut off, or failed after it had printed times, has measured nothing
    if report is None or not report.passed:
        why = one.why if report is None else report.failure_reason(2) or "trtexec was cut off"
        return asked | {
            "version": None,
            "latency_ms": None,
            "gpu_ms": None,
            "images_per_s": None,
            "why": why,
        }
    return asked | {
        "cuda_graph": PINNED["cuda_graph"] and not report.graph_refused,
        "version": ".".join(map(str, report.version)) if report.version else None,
        "latency_ms": _times(report.latency),
        "gpu_ms": _times(report.gpu_compute),
        "images_per_s": report.images_per_s(one.batch),
        "enqueue_bound": report.enqueue_bound,
        "unstable_percent": report.unstable_percent,
        "why": None,
    }


def _times(times: Times | None) -> dict[str, float] | None:
    if times is None:
        return None
    tail = {f"p{percent:g}": value for percent, value in times.percentiles.items()}
    return {"p50": times.median, **tail, "mean": times.mean}


def _power(run: DeviceRun) -> dict[str, Any]:
    power = run.power
    total = total_in(power.samples)
    idle = mean_w(power.samples, power.idle, total.rails, run.least_s) if total and power.idle else None
    return {
        "sensor": power.sensor,
        "rail": total.name if total else None,
        "rail_known": total.known if total else None,
        "samples": len(power.samples),
        "malformed": power.malformed,
        "idle_w": idle,
        "least_window_s": run.least_s,
    }


def _ratio(first: ModelRun, model: ModelRun, scene: Scene) -> dict[str, Any] | None:
    """How many times as fast as the first model this one is in the same scenario, the runs one after the other."""
    base = next((one for one in first.scenes if one.name == scene.name), None)
    if base is None:
        return None
    times = [np.array(one.wall_ms, np.float64) for one in (base, scene)]
    return {
        "path": model.facts["path"],
        "engine": model.facts["engine"],
        "relative_to": first.facts["path"],
        "scenario": scene.name,
        "batch": scene.batch,
        "interval_95": asdict(interval(*times, paired=False)),
    }


def _doubtful(
    models: Sequence[Mapping[str, Any]], energies: Sequence[Mapping[str, Any]], run: DeviceRun
) -> list[str]:
    found = []
    power = run.power
    if power.sensor is None:
        found.append("no power sensor that can be read: energy is null")
    else:
        if models and models[0]["energy"]["rail_known"] is False:
            found.append(
                f"the board's power is the sum of rails not known here: {models[0]['energy']['rail']}"
            )
        reasons = Counter(one["why"] for one in energies if one["why"])
        found += [f"energy is null {count} times: {why}" for why, count in reasons.items()]
        if power.idle is None or all(one["idle_w"] is None for one in energies):
            found.append("no idle power was measured: energy without idle is null")
    if power.malformed:
        found.append(
            f"{power.malformed} readings of {power.sensor or 'tegrastats'} were malformed and left out"
        )
    for why in dict.fromkeys(
        one["why"] for model in models for one in model["trtexec"] if one["why"] is not None
    ):
        found.append(f"trtexec beside it is missing: {why}")
    if bound := [
        f"{model['path']}, {model['scenario']}"
        for model in models
        if any(one.get("enqueue_bound") for one in model["trtexec"])
    ]:
        found.append(f"trtexec was bound by enqueue time, not by the GPU ({'; '.join(bound)})")
    if any(one["why"] is None and not one["cuda_graph"] for model in models for one in model["trtexec"]):
        found.append(
            "trtexec ran without a CUDA graph, which the engine does not allow: its times are longer"
        )
    unsteady = [
        f"{model['path']}, {model['scenario']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > 0.025
    ]
    if unsteady:
        found.append(f"times vary by more than 2.5 % ({'; '.join(unsteady)}): lock the clocks")
    return found
