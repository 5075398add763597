"""Keep a run on a Jetson as a folder that `--replay` reads (its form: `benchmarks.device.replay`). Measures nothing.

What is kept is what the run itself read: a person who has no Jetson can then see every number come about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.device.board import ENVIRONMENT
from benchmarks.device.power.sampling import Line
from benchmarks.device.replay import AFTER, BEFORE, LINES, TIMES
from benchmarks.device.run import DeviceRun, ModelRun
from runtime.errors import ConfigError
from runtime.host.jetson import read_text

PACKAGES = "var/lib/dpkg/status"
# Everything that benchmarks.device.board and engines.board read.
FILES = (
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    PACKAGES,
    "usr/local/cuda/version.json",
    "usr/local/cuda/version.txt",
    "proc/device-tree/model",
    "proc/device-tree/compatible",
    "sys/class/devfreq/*/*_freq",
    "sys/class/devfreq/*/governor",
    "sys/devices/system/cpu/cpufreq/policy*/scaling_*",
    "sys/kernel/debug/bpmp/debug/clk/emc/*rate",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/thermal/cooling_device*/type",
    "sys/class/thermal/cooling_device*/cur_state",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
)


class Said(NamedTuple):
    """What a run heard that neither a system file nor its result holds."""

    nvpmodel: str
    environment: Mapping[str, str]
    lines: Sequence[Line]


def new_folder(folder: Path) -> None:
    """Make the folder of a recording; ConfigError where it holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--record {folder}: exists and is not empty; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def system_files(root: Path) -> dict[str, str]:
    """Path under `root` -> text of every system file that tells of the board; of the packages TensorRT's alone."""
    paths = [path for pattern in FILES for path in sorted(root.glob(pattern))]
    found = {str(path.relative_to(root)): text for path in paths if (text := read_text(path))}
    if PACKAGES in found:
        entries = found[PACKAGES].split("\n\n")
        found[PACKAGES] = "\n\n".join(entry for entry in entries if "nvinfer" in entry.partition("\n")[0])
    return found


def write_recording(
    folder: Path, run: DeviceRun, *, before: Mapping[str, str], after: Mapping[str, str], said: Said
) -> None:
    """The whole recording; `before` and `after` are `system_files` at the start and the end of the run."""
    _put(folder / BEFORE, before)
    _put(folder / AFTER, after)
    power, lines = run.power, [(at, line) for at, line in said.lines if line.endswith("\n")]
    timing: dict[str, Any] = {
        "idle": power.idle,
        "host": run.host,
        "images": run.images,
        "models": [_model(one, number, folder) for number, one in enumerate(run.models)],
        "nvpmodel": said.nvpmodel,
        "environment": {name: said.environment.get(name) for name in ENVIRONMENT},
        "during": run.during,
        "doubts": run.doubts,
    }
    if power.sensor == "tegrastats":
        _put(folder, {LINES: "".join(line for _, line in lines)})
        timing["at_s"] = [at for at, _ in lines]
    else:
        # what tegrastats said where it told no power is kept for whoever wonders why
        _put(folder, {LINES: "".join(line for _, line in lines)} if lines else {})
        timing["power"] = {
            "sensor": power.sensor,
            "malformed": power.malformed,
            "samples": power.samples,
        }
    _put(folder, {TIMES: json.dumps(timing, indent=1, allow_nan=False) + "\n"})


def _model(one: ModelRun, number: int, folder: Path) -> dict[str, Any]:
    """The model's part of timing.json; what trtexec printed goes into files of its own."""
    runs = []
    for turn, run in enumerate(one.trtexec):
        name = f"trtexec_{number}_{turn}.txt" if run.output is not None else None
        if name is not None:
            _put(folder, {name: run.output or ""})
        runs.append(asdict(run) | {"output": name})
    return {
        "facts": one.facts,
        "accuracy": one.accuracy,
        "scenes": [vars(scene) for scene in one.scenes],
        "gallery": vars(one.gallery) if one.gallery else None,
        "trtexec": runs,
    }


def _put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
