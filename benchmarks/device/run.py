"""The results of a run on a device, measured here or read from a recording, and the JSON document made of them."""

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

# The settings that trtexec was given.
PINNED = {"streams": 1, "cuda_graph": True, "spin_wait": True}
# The settings of a session's times: images come from the host's memory, and features return there.
SESSION = {"transfers": True, "cuda_graph": False, "spin_wait": False}
# Those of an engine's session (`runtime.backends.tensorrt.execution`).
ENGINE_SESSION = SESSION | {"cuda_graph": "from the third call on, where the device allows it"}


@dataclass(frozen=True)
class Scenario:
    """One scenario of one model, measured in one window: `wall_ms` of every timed call with `batch` images.

    `images` counts all images of the window, those of the warm-up too. `calls` are the (images, batch size) that the engine runs
    for one call.
    """

    name: str
    batch: int
    wall_ms: Sequence[float]
    images: int
    window: Window
    calls: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Gallery:
    """The extraction of a whole gallery from its files, `passes` times, with reading, decoding and resizing."""

    images: int
    passes: int
    batch: int
    window: Window


@dataclass(frozen=True)
class Trtexec:
    """One run of trtexec with `batch` images a query. `output` is all that it printed; None where it did not run, because of `why`."""

    batch: int
    transfers: bool
    line: Sequence[str] = ()
    output: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class ModelRun:
    """The results of one model: `facts` from `benchmarks.candidate.facts`, `accuracy` from `runtime.extraction.accuracy`."""

    facts: Mapping[str, Any]
    scenarios: Sequence[Scenario]
    trtexec: Sequence[Trtexec] = ()
    gallery: Gallery | None = None
    accuracy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Power:
    """All power samples of the run. `sensor` is None where none could be read; `idle` is the window before anything ran."""

    sensor: str | None
    samples: Sequence[Sample] = ()
    malformed: int = 0
    idle: Window | None = None


@dataclass(frozen=True)
class DeviceRun:
    """All results of a run; `images` is {source, count}.

    `stopped` is the signal that ended the run early, and `missing` lists what was not measured then. `board`, `before`, `after`
    and `during` (right after each scenario) come from `benchmarks.device.board`.
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
    """Return the JSON document of a run: that of bench.py with {board, state, power, galleries, replayed} and each model's energy."""
    models = [_row(model, scenario, run) for model in run.models for scenario in model.scenarios]
    galleries = [_gallery(model, run) for model in run.models if model.gallery]
    ratios = [_ratio(run.models[0], model, scenario) for model in run.models for scenario in model.scenarios]
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
        "ratios": [ratio for ratio in ratios if ratio],
        "warnings": [*run.doubts, *_warnings(models, [row["energy"] for row in (*models, *galleries)], run)],
    }


def _row(model: ModelRun, scenario: Scenario, run: DeviceRun) -> dict[str, Any]:
    wall = np.array(scenario.wall_ms, np.float64)
    return {
        **model.facts,
        "scenario": scenario.name,
        "batch": scenario.batch,
        "engine_calls": [list(call) for call in scenario.calls],
        "rounds": len(wall),
        "latency_ms": timing.latency(wall),
        "images_per_s": 1000 * scenario.batch / float(wall.mean()),
        "cv": timing.variation(wall),
        "wall_ms": [round(float(ms), 4) for ms in wall],
        "measured": measured_with(model.facts["engine"]),
        "energy": _energy(run, scenario.window, scenario.images),
        "trtexec": [trtexec_row(trtexec) for trtexec in model.trtexec if trtexec.batch == scenario.batch],
        "accuracy": dict(model.accuracy) if model.accuracy else None,
    }


def gallery_row(facts: Mapping[str, Any], gallery: Gallery, joules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's entry for a gallery that the model with these facts extracted.

    `joules` comes from `benchmarks.device.power.energy`.
    """
    seconds = gallery.window.end_s - gallery.window.start_s
    return {
        "path": facts["path"],
        "sha256": facts["sha256"],
        "images": gallery.images,
        "passes": gallery.passes,
        "batch": gallery.batch,
        "seconds": seconds,
        "images_per_s": gallery.images * gallery.passes / seconds,
        "includes": ["read", "decode", "resize", "infer"],
        "energy": dict(joules),
    }


def measured_with(engine: object) -> dict[str, Any]:
    """Return {transfers, cuda_graph, spin_wait} of the times of a session with this backend, to compare with trtexec's settings."""
    return ENGINE_SESSION if str(engine).startswith("tensorrt") else SESSION


def _gallery(model: ModelRun, run: DeviceRun) -> dict[str, Any]:
    gallery = model.gallery
    assert gallery is not None
    return gallery_row(model.facts, gallery, _energy(run, gallery.window, gallery.images * gallery.passes))


def _energy(run: DeviceRun, window: Window, images: int) -> dict[str, Any]:
    power = run.power
    return energy(power.samples, window, images=images, idle=power.idle, least_s=run.least_s)


def trtexec_row(run: Trtexec) -> dict[str, Any]:
    """Return the numbers of one run of trtexec, with its settings, because the versions have different defaults."""
    settings = {"transfers": run.transfers, **PINNED, "line": list(run.line)}
    report = None if run.output is None else parse(run.output)
    # the times of a run that was cut off, or that failed after it had printed them, do not count
    if report is None or not report.passed:
        why = run.why if report is None else report.failure_reason(2) or "the output of trtexec was cut off"
        return settings | {
            "version": None,
            "latency_ms": None,
            "gpu_ms": None,
            "images_per_s": None,
            "why": why,
        }
    return settings | {
        "cuda_graph": PINNED["cuda_graph"] and not report.graph_refused,
        "version": ".".join(map(str, report.version)) if report.version else None,
        "latency_ms": _times(report.latency),
        "gpu_ms": _times(report.gpu_compute),
        "images_per_s": report.images_per_s(run.batch),
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


def _ratio(first: ModelRun, model: ModelRun, scenario: Scenario) -> dict[str, Any] | None:
    """Return how many times as fast as the first model this one is in the same scenario; the two did not run interleaved."""
    base = next((other for other in first.scenarios if other.name == scenario.name), None)
    if base is None:
        return None
    times = [np.array(timed.wall_ms, np.float64) for timed in (base, scenario)]
    return {
        "path": model.facts["path"],
        "engine": model.facts["engine"],
        "relative_to": first.facts["path"],
        "scenario": scenario.name,
        "batch": scenario.batch,
        "interval_95": asdict(interval(*times, paired=False)),
    }


def _warnings(
    models: Sequence[Mapping[str, Any]], energies: Sequence[Mapping[str, Any]], run: DeviceRun
) -> list[str]:
    warnings = []
    power = run.power
    trtexec_runs = [trtexec for model in models for trtexec in model["trtexec"]]
    if power.sensor is None:
        warnings.append("no power sensor can be read: energy is null")
    else:
        if models and models[0]["energy"]["rail_known"] is False:
            warnings.append(
                f"this board's rails are unknown: its power is the sum of {models[0]['energy']['rail']}"
            )
        reasons = Counter(energy["why"] for energy in energies if energy["why"])
        warnings += [f"energy is null {count} times: {why}" for why, count in reasons.items()]
        if power.idle is None or all(energy["idle_w"] is None for energy in energies):
            warnings.append("no idle power was measured: the energy without idle power is null")
    if power.malformed:
        warnings.append(
            f"{power.malformed} readings of {power.sensor or 'tegrastats'} were malformed and left out"
        )
    warnings += [f"times of trtexec are missing: {why}" for why in missing_reasons(trtexec_runs)]
    if bound := [
        f"{model['path']}, {model['scenario']}"
        for model in models
        if any(trtexec.get("enqueue_bound") for trtexec in model["trtexec"])
    ]:
        warnings.append(f"trtexec was limited by enqueue time, not by the GPU ({'; '.join(bound)})")
    if any(trtexec["why"] is None and not trtexec["cuda_graph"] for trtexec in trtexec_runs):
        warnings.append(
            "trtexec ran without a CUDA graph, which the engine does not allow: its times are longer"
        )
    unsteady = [
        f"{model['path']}, {model['scenario']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > 0.025
    ]
    if unsteady:
        warnings.append(f"times vary by more than 2.5 % ({'; '.join(unsteady)}): lock the clocks")
    return warnings


def missing_reasons(trtexec_runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why rows of `trtexec_row` have no times, without repetitions."""
    return list(dict.fromkeys(run["why"] for run in trtexec_runs if run["why"] is not None))
