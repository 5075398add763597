"""Read a recorded run on a Jetson from its folder. Runs no model and no other program.

The folder has these files:

- `root/`: the board's system files at the start of the run.
- `root_after/`: the system files at the end. The folder is missing if they are the same.
- `tegrastats.txt`: the lines that tegrastats printed.
- `timing.json`: {interval_s or at_s, idle: [start, end], host, images: {source, count}, models: [{facts, accuracy,
  scenes: [{name, batch, wall_ms, images, window, calls}], gallery: {images, passes, batch, window},
  trtexec: [{batch, transfers, line, output}]}]}.

The entries of `models` have the fields of `benchmarks.device.run.ModelRun`, in which `scenes` are the scenarios. `output` names the
file in the folder that holds an output of trtexec. All times but `wall_ms` are in seconds of one clock. `at_s` has the time of each
line of tegrastats. Without it, one line was printed every `interval_s`, from 0 on.

timing.json may have five more keys: `nvpmodel` (the output of `nvpmodel -q`), `environment` (environment variables that describe the
board), `during` (the board's state after each measurement), `doubts` (warnings) and `power`. The key `power` replaces tegrastats.txt
if another sensor was read: {sensor, malformed, samples: [[second, {rail: mW}]]}.
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
    """Return the run that is recorded in `folder`, with only the models that `models` lists, in the same order.

    Each of `models` is the path or the file name of a recorded model. Raises ConfigError if the folder is not a recording, if it lacks
    one of the models, or if a file name stands for several models.
    """
    try:
        recording = read_json(folder / TIMES, RECORDING)
        runs = [_model(model, folder) for model in recording["models"]]
        power = _power(folder, recording)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--replay {folder}: this is not a recording of a run ({error}); give a folder that --record wrote"
        ) from None
    selected = [_named(name, runs, folder) for name in models]
    root, root_after = folder / BEFORE, folder / AFTER
    description = board.describe(root, recording.get("environment") or {}, recording.get("nvpmodel") or "")
    before = board.state(root)
    after = board.state(root_after) if root_after.is_dir() else before
    doubts = recording.get("doubts")
    return DeviceRun(
        host=recording["host"],
        board=description,
        before=before,
        after=after,
        power=power,
        models=selected,
        images=recording["images"],
        advice=board.advice(root, description, before),
        doubts=[
            "this run was replayed: its numbers come from a recording, and nothing was measured here",
            *(board.doubts(root, description, [before, after]) if doubts is None else doubts),
        ],
        during=recording.get("during") or (),
        replayed=True,
        least_s=LEAST_S,
    )


def _named(name: str, runs: Sequence[ModelRun], folder: Path) -> ModelRun:
    """Return the recorded model whose path is `name`, or else the only one with the same file name.

    Raises ConfigError if there is no such model, or several have this file name.
    """
    same_path = [run for run in runs if run.facts["path"] == name]
    same_name = [run for run in runs if Path(run.facts["path"]).name == Path(name).name]
    if same_path or len(same_name) == 1:
        return (same_path or same_name)[0]
    recorded = ", ".join(run.facts["path"] for run in same_name or runs)
    reason = "is the file name of several models" if same_name else "was not recorded"
    raise ConfigError(f"--replay {folder}: {name} {reason}; give one of the recorded models: {recorded}")


def _power(folder: Path, recording: Mapping[str, Any]) -> Power:
    idle = Window(*recording["idle"]) if recording.get("idle") else None
    if power := recording.get("power"):
        samples = [Sample(*sample) for sample in power["samples"]]
        return Power(power.get("sensor"), samples, power["malformed"], idle)
    *lines, last = (folder / LINES).read_text(errors="replace").split("\n")
    times = recording.get("at_s")
    if times is None:
        if not recording.get("interval_s"):
            raise ValueError(
                f"{TIMES} has neither at_s nor interval_s, which give the times of the lines in {LINES}"
            )
        times = [number * recording["interval_s"] for number in range(len(lines))]
    samples, malformed = [], 0
    # A malformed line is counted, and its time is skipped with it.
    for at_s, line in zip(times, lines):
        rails = tegrastats_rails(line)
        if rails is None:
            malformed += 1
            continue
        samples.append(Sample(at_s, rails))
    # A last line without a newline was cut off.
    malformed += bool(last.strip())
    sensor = "tegrastats" if any(sample.rails_mw for sample in samples) else None
    return Power(sensor, samples, malformed, idle)


def _model(model: Mapping[str, Any], folder: Path) -> ModelRun:
    return ModelRun(
        facts=model["facts"],
        accuracy=model.get("accuracy"),
        scenarios=[
            Scenario(**{**scenario, "window": _window(scenario), "calls": scenario.get("calls") or ()})
            for scenario in model["scenes"]
        ],
        gallery=_gallery(model["gallery"]) if model.get("gallery") else None,
        trtexec=[_trtexec(run, folder) for run in model.get("trtexec") or ()],
    )


def _gallery(gallery: Mapping[str, Any]) -> Gallery:
    return Gallery(**{**gallery, "window": _window(gallery)})


def _window(entry: Mapping[str, Any]) -> Window:
    window = Window(*entry["window"])
    if not window.start_s < window.end_s:
        raise ValueError(f"in {TIMES}, the window {entry['window']} (seconds) does not end after its start")
    return window


def _trtexec(run: Mapping[str, Any], folder: Path) -> Trtexec:
    # Only the file's name is used, so that a recording of another person cannot read other files of this machine.
    text = (folder / Path(run["output"]).name).read_text(errors="replace") if run.get("output") else None
    return Trtexec(**{**run, "line": run.get("line") or (), "output": text})
