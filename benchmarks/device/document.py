"""Make the JSON document of a Jetson run from its results: latency, energy, ratios, trtexec's times and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.device.power.energy import Window, energy, mean_w, total_in
from benchmarks.device.run import DeviceRun, Gallery, ModelRun, Scenario, Trtexec
from benchmarks.stats.interval import interval
from engines.trtexec.output import Times, parse

# The settings with which trtexec runs.
PINNED = {"streams": 1, "cuda_graph": True, "spin_wait": True}
# The settings with which the models of this project are timed: a call copies images from the host's memory and features back to it.
SESSION = {"transfers": True, "cuda_graph": False, "spin_wait": False}
# The same settings for a TensorRT engine (`runtime.backends.tensorrt.execution`).
ENGINE_SESSION = SESSION | {"cuda_graph": "from the third call on, where the device allows it"}


def document(run: DeviceRun) -> dict[str, Any]:
    """Return the JSON document of a Jetson run.

    It has the keys of every bench.py document and {board, state, power, galleries, replayed}. Each entry of `models` has its energy.
    """
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
    """Return the document's entry for the extraction of a whole gallery with one model.

    The keys are {path, sha256, images, passes, batch, seconds, images_per_s, includes, energy}. `facts` come from
    `benchmarks.candidate.facts`, and `joules` is the result of `benchmarks.device.power.energy.energy`.
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
    """Return the settings with which this project times a model on the backend named `engine`: {transfers, cuda_graph, spin_wait}.

    `transfers` says whether the times include copies between host and GPU, `cuda_graph` whether a CUDA graph is replayed, and
    `spin_wait` whether the host waits actively. They are booleans, except that `cuda_graph` is a text for TensorRT: it says when the
    graph is replayed. `trtexec_row` has the same settings of a run of trtexec.
    """
    return ENGINE_SESSION if str(engine).startswith("tensorrt") else SESSION


def _gallery(model: ModelRun, run: DeviceRun) -> dict[str, Any]:
    gallery = model.gallery
    assert gallery is not None
    return gallery_row(model.facts, gallery, _energy(run, gallery.window, gallery.images * gallery.passes))


def _energy(run: DeviceRun, window: Window, images: int) -> dict[str, Any]:
    power = run.power
    return energy(power.samples, window, images=images, idle=power.idle, least_s=run.least_s)


def trtexec_row(run: Trtexec) -> dict[str, Any]:
    """Return the results of one run of trtexec and the settings that it ran with.

    The settings are {transfers, streams, cuda_graph, spin_wait, line}, where `line` is the command line. They are listed because
    versions of trtexec have different defaults. The results are {version, latency_ms, gpu_ms, images_per_s, why}. `latency_ms` and
    `gpu_ms` (the time on the GPU) are {p50, mean} in ms, with a key such as p99 for every other percentile that trtexec printed.

    If the run failed, `why` gives the reason, and the other results are None. Otherwise, `why` is None, and two warnings of trtexec
    are added. `enqueue_bound` says whether the throughput was limited by the CPU, which launches the kernels. `unstable_percent` is
    the coefficient of variation of the GPU time, or None if trtexec did not warn about it.
    """
    settings = {"transfers": run.transfers, **PINNED, "line": list(run.line)}
    report = None if run.output is None else parse(run.output)
    # The times of a run that was cut off, or that failed after it had printed them, do not count.
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
    """Return how many times as fast a model is as the first model at the same batch size, or None if the first was not timed there.

    The two models did not take turns, so that the interval is wide.
    """
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
        warnings.append("no power sensor can be read: all energy values are null")
    else:
        if models and models[0]["energy"]["rail_known"] is False:
            warnings.append(
                "the power rails of this board are unknown: the sum of all rails counts as its power, which may be wrong "
                f"({models[0]['energy']['rail']})"
            )
        reasons = Counter(energy["why"] for energy in energies if energy["why"])
        warnings += [
            f"energy is null {count} times, because it could not be computed: {why}"
            for why, count in reasons.items()
        ]
        if power.idle is None or all(energy["idle_w"] is None for energy in energies):
            warnings.append("no idle power was measured: the energy without idle power is null")
    if power.malformed:
        warnings.append(
            f"{power.malformed} readings of {power.sensor or 'tegrastats'} could not be parsed and are left out"
        )
    warnings += [f"times of trtexec are missing: {why}" for why in missing_reasons(trtexec_runs)]
    if bound := [
        f"{model['path']}, {model['scenario']}"
        for model in models
        if any(trtexec.get("enqueue_bound") for trtexec in model["trtexec"])
    ]:
        warnings.append(
            f"trtexec was limited by enqueue time, so its times are longer than those of the GPU ({'; '.join(bound)})"
        )
    if any(trtexec["why"] is None and not trtexec["cuda_graph"] for trtexec in trtexec_runs):
        warnings.append(
            "trtexec ran without a CUDA graph, because the engine does not allow one: trtexec's times are longer than with one"
        )
    unsteady = [
        f"{model['path']}, {model['scenario']} by {model['cv']:.1%}"
        for model in models
        if model["cv"] > 0.025
    ]
    if unsteady:
        warnings.append(
            f"times vary by more than 2.5 % ({'; '.join(unsteady)}): lock the clocks, then measure again"
        )
    return warnings


def missing_reasons(trtexec_runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the reasons why some of `trtexec_runs` have no times, each reason once. The runs are results of `trtexec_row`."""
    return list(dict.fromkeys(run["why"] for run in trtexec_runs if run["why"] is not None))
