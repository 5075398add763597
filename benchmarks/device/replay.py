"""A recorded run on a Jetson, read back from its folder: the board's files, tegrastats' lines, the times. Runs nothing.

`DIR/root/` holds the system files that the board had (`DIR/root_after/` those at the end, where they differ),
`DIR/tegrastats.txt` its lines, and `DIR/timing.json` what was timed:
{interval_s or at_s, idle: [start, end], host, images: {source, count}, models: [{facts, accuracy, scenes: [{name, batch,
wall_ms, images, window, calls}], gallery: {images, passes, batch, window}, trtexec: [{batch, transfers, line, output}]}]},
times in seconds of one clock, `at_s` when each line came (else one came every `interval_s` from 0 on), `output` a file of the
folder that holds what trtexec printed. `benchmarks.device.record` adds what no file says: nvpmodel (what `nvpmodel -q`
printed), environment, during, doubts, and where another sensor than tegrastats was read, power: {sensor, malformed, samples:
[[second, {rail: mW}]]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.device import board
from benchmarks.device.power.energy import LEAST_S, Sample, Window
from benchmarks.device.power.sampling import tegrastats_rails
from benchmarks.device.run import DeviceRun, Gallery, ModelRun, Power, Scenario, Trtexec
from benchmarks.json_files import (
    ANYTHING,
    COUNT,
    NUMBER,
    PART,
    POSITIVE,
    TEXT,
    YES_NO,
    listed,
    mapping,
    maybe,
    members,
    read_json,
)
from runtime.errors import ConfigError

TIMES, LINES = "timing.json", "tegrastats.txt"
BEFORE, AFTER = "root", "root_after"


WINDOW = listed(NUMBER, least=2, most=2)
# [second, {rail: mW}]
SAMPLE = {"type": "array", "prefixItems": [NUMBER, mapping(NUMBER)], "minItems": 2, "maxItems": 2}
SCENARIO = members(
    {
        "name": TEXT,
        "batch": COUNT,
        "wall_ms": listed(POSITIVE, least=1),
        "images": COUNT,
        "window": WINDOW,
    },
    {"calls": maybe(listed(listed(COUNT)))},
)
GALLERY = members({"images": COUNT, "passes": COUNT, "batch": COUNT, "window": WINDOW})
TRTEXEC = members(
    {"batch": COUNT, "transfers": YES_NO},
    {"line": maybe(listed(TEXT)), "output": maybe(TEXT), "why": maybe(TEXT)},
)
MODEL = members(
    {
        "facts": members({"path": TEXT, "sha256": TEXT, "engine": TEXT}),
        "scenes": listed(SCENARIO, least=1),
    },
    {
        "accuracy": maybe(members({"mAP": PART})),
        "gallery": maybe(GALLERY),
        "trtexec": maybe(listed(TRTEXEC)),
    },
)
POWER = members({"malformed": NUMBER, "samples": listed(SAMPLE)}, {"sensor": maybe(TEXT)})
RECORDING = members(
    {
        "host": members({"device": TEXT}),
        "images": members({"source": TEXT, "count": COUNT}),
        "models": listed(MODEL),
    },
    {
        "interval_s": maybe(POSITIVE),
        "at_s": maybe(listed(NUMBER)),
        "idle": maybe(WINDOW),
        "nvpmodel": maybe(TEXT),
        "environment": maybe(members({}, {name: maybe(TEXT) for name in board.ENVIRONMENT})),
        "during": maybe(listed(ANYTHING)),
        "doubts": maybe(listed(TEXT)),
        "power": maybe(POWER),
    },
)


def read_replay(folder: Path, models: Sequence[str]) -> DeviceRun:
    """The run recorded in `folder`, of the models named; ConfigError for a folder that is no recording or lacks one of them."""
    try:
        known = read_json(folder / TIMES, RECORDING)
        runs = [_model(one, folder) for one in known["models"]]
        power = _power(folder, known)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--replay {folder}: no recording of a run ({error}); give the folder of one"
        ) from None
    asked = [_named(name, runs, folder) for name in models]
    root, later = folder / BEFORE, folder / AFTER
    about = board.describe(root, known.get("environment") or {}, known.get("nvpmodel") or "")
    before = board.state(root)
    after = board.state(later) if later.is_dir() else before
    doubts = known.get("doubts")
    return DeviceRun(
        host=known["host"],
        board=about,
        before=before,
        after=after,
        power=power,
        models=asked,
        images=known["images"],
        advice=board.advice(root, about, before),
        doubts=[
            "replayed: nothing was measured here",
            *(board.doubts(root, about, [before, after]) if doubts is None else doubts),
        ],
        during=known.get("during") or (),
        replayed=True,
        least_s=LEAST_S,
    )


def _named(name: str, runs: Sequence[ModelRun], folder: Path) -> ModelRun:
    """The recorded model of this path, or of this file name where only one has it."""
    whole = [one for one in runs if one.facts["path"] == name]
    named = [one for one in runs if Path(one.facts["path"]).name == Path(name).name]
    if whole or len(named) == 1:
        return (whole or named)[0]
    there = ", ".join(one.facts["path"] for one in named or runs)
    reason = "was recorded more than once" if named else "was not recorded"
    raise ConfigError(f"--replay {folder}: {name} {reason}; it has {there}")


def _power(folder: Path, known: Mapping[str, Any]) -> Power:
    idle = Window(*known["idle"]) if known.get("idle") else None
    if other := known.get("power"):
        return Power(
            other.get("sensor"), [Sample(*one) for one in other["samples"]], other["malformed"], idle
        )
    *whole, rest = (folder / LINES).read_text(errors="replace").split("\n")
    times = known.get("at_s")
    if times is None:
        if not known.get("interval_s"):
            raise ValueError("neither at_s nor interval_s says when the lines came")
        times = [number * known["interval_s"] for number in range(len(whole))]
    samples, malformed = [], 0
    # every line is one interval after the one before, understood or not
    for at, line in zip(times, whole):
        rails = tegrastats_rails(line)
        if rails is None:
            malformed += 1
            continue
        samples.append(Sample(at, rails))
    # a last line without its end was cut off
    malformed += bool(rest.strip())
    sensor = "tegrastats" if any(sample.rails_mw for sample in samples) else None
    return Power(sensor, samples, malformed, idle)


def _model(one: Mapping[str, Any], folder: Path) -> ModelRun:
    return ModelRun(
        facts=one["facts"],
        accuracy=one.get("accuracy"),
        scenarios=[
            Scenario(**{**scenario, "window": _window(scenario), "calls": scenario.get("calls") or ()})
            for scenario in one["scenes"]
        ],
        gallery=_gallery(one["gallery"]) if one.get("gallery") else None,
        trtexec=[_trtexec(run, folder) for run in one.get("trtexec") or ()],
    )


def _gallery(one: Mapping[str, Any]) -> Gallery:
    return Gallery(**{**one, "window": _window(one)})


def _window(one: Mapping[str, Any]) -> Window:
    window = Window(*one["window"])
    if not window.start_s < window.end_s:
        raise ValueError(f"the window {one['window']} does not end after its start")
    return window


def _trtexec(one: Mapping[str, Any], folder: Path) -> Trtexec:
    # a name alone: somebody else's recording points to no file of this machine
    text = (folder / Path(one["output"]).name).read_text(errors="replace") if one.get("output") else None
    return Trtexec(**{**one, "line": one.get("line") or (), "output": text})
