"""A recorded run on a Jetson, read back from its folder: the board's files, tegrastats' lines, the times. Runs nothing.

`DIR/root/` holds the system files that the board had (`DIR/root_after/` those at the end, where they differ),
`DIR/tegrastats.txt` its lines, one every `interval_s`, and `DIR/timing.json` what was timed:
{interval_s, idle: [start, end], host, images: {source, count}, models: [{facts, accuracy, scenes: [{name, batch, wall_ms,
images, window, calls}], gallery: {images, passes, batch, window}, trtexec: [{batch, transfers, line, output}]}]}, times in
seconds after the first line, `output` a file of the folder that holds what trtexec printed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import board
from benchmarks.device_run import DeviceRun, Gallery, ModelRun, Power, Scene, Trtexec
from benchmarks.energy import Sample, Window
from benchmarks.power import tegrastats_rails
from runtime.errors import ConfigError


def read_replay(folder: Path, models: Sequence[str]) -> DeviceRun:
    """The run recorded in `folder`, of the models named; ConfigError for a folder that is no recording or lacks one of them."""
    try:
        known = json.loads((folder / "timing.json").read_text())
        lines = (folder / "tegrastats.txt").read_text(errors="replace")
        runs = {Path(one["facts"]["path"]).name: _model(one, folder) for one in known["models"]}
        power = _power(lines, float(known["interval_s"]), known.get("idle"))
        host, images = dict(known["host"]), dict(known["images"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--replay {folder}: no recording of a run ({error}); give the folder of one"
        ) from None
    if missing := [name for name in models if Path(name).name not in runs]:
        raise ConfigError(f"--replay {folder}: {missing[0]} was not recorded; it has {', '.join(runs)}")
    root, later = folder / "root", folder / "root_after"
    about, before = board.describe(root, {}), board.state(root)
    after = board.state(later) if later.is_dir() else before
    return DeviceRun(
        host=host,
        board=about,
        before=before,
        after=after,
        power=power,
        models=[runs[Path(name).name] for name in models],
        images=images,
        advice=board.advice(root, about, before),
        doubts=["replayed: nothing was measured here", *board.doubts(root, about, before, after)],
        replayed=True,
    )


def _power(text: str, interval_s: float, idle: Sequence[float] | None) -> Power:
    """Every line is one interval after the one before, understood or not."""
    samples, malformed = [], 0
    *whole, rest = text.split("\n")
    for number, line in enumerate(line for line in whole if line.strip()):
        rails = tegrastats_rails(line)
        if rails is None:
            malformed += 1
            continue
        samples.append(Sample(number * interval_s, rails))
    # a last line without its end was cut off
    malformed += bool(rest.strip())
    sensor = "tegrastats" if any(sample.rails_mw for sample in samples) else None
    return Power(sensor, samples, malformed, Window(*idle) if idle else None)


def _model(one: dict[str, Any], folder: Path) -> ModelRun:
    return ModelRun(
        facts=one["facts"],
        accuracy=one.get("accuracy"),
        scenes=[Scene(**{**scene, "window": Window(*scene["window"])}) for scene in one["scenes"]],
        gallery=_gallery(one["gallery"]) if one.get("gallery") else None,
        trtexec=[_trtexec(run, folder) for run in one.get("trtexec", [])],
    )


def _gallery(one: dict[str, Any]) -> Gallery:
    return Gallery(**{**one, "window": Window(*one["window"])})


def _trtexec(one: dict[str, Any], folder: Path) -> Trtexec:
    text = (folder / one["output"]).read_text(errors="replace") if one.get("output") else None
    return Trtexec(**{**one, "output": text})
