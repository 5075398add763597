"""Record a run on a Jetson in a folder that `--replay` reads. `benchmarks.device.replay` defines the format.

The folder holds the times, power samples and system files that the run read, so that a person without a Jetson can compute every
number again.
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
# All the files that benchmarks.device.board and engines.board read.
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


class Heard(NamedTuple):
    """The inputs of a run that are neither in a system file nor in its result.

    `nvpmodel` is the output of `nvpmodel -q`, `environment` has the environment variables, and `lines` are the lines of tegrastats
    with their times.
    """

    nvpmodel: str
    environment: Mapping[str, str]
    lines: Sequence[Line]


def new_folder(folder: Path) -> None:
    """Create the folder of a recording. Raises ConfigError if `folder` is a file or a folder that is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--record {folder}: it already exists and is not empty; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def system_files(root: Path) -> dict[str, str]:
    """Map the path of each system file about the board, relative to `root`, to its text.

    From the list of installed packages, only the entries of TensorRT are included.
    """
    paths = [path for pattern in FILES for path in sorted(root.glob(pattern))]
    texts = {str(path.relative_to(root)): text for path in paths if (text := read_text(path))}
    if PACKAGES in texts:
        entries = texts[PACKAGES].split("\n\n")
        texts[PACKAGES] = "\n\n".join(entry for entry in entries if "nvinfer" in entry.partition("\n")[0])
    return texts


def write_recording(
    folder: Path, run: DeviceRun, *, before: Mapping[str, str], after: Mapping[str, str], heard: Heard
) -> None:
    """Write the recording of `run` into `folder`. Raises OSError if a file cannot be written.

    `before` and `after` are the results of `system_files` at the run's start and end. `heard` has what else the run read.
    """
    _put(folder / BEFORE, before)
    _put(folder / AFTER, after)
    power, lines = run.power, [(at_s, line) for at_s, line in heard.lines if line.endswith("\n")]
    timing: dict[str, Any] = {
        "idle": power.idle,
        "host": run.host,
        "images": run.images,
        "models": [_model(model, number, folder) for number, model in enumerate(run.models)],
        "nvpmodel": heard.nvpmodel,
        "environment": {name: heard.environment.get(name) for name in ENVIRONMENT},
        "during": run.during,
        "doubts": run.doubts,
    }
    if power.sensor == "tegrastats":
        _put(folder, {LINES: "".join(line for _, line in lines)})
        timing["at_s"] = [at_s for at_s, _ in lines]
    else:
        # Lines of tegrastats without power are recorded too, so that the reason can be found.
        _put(folder, {LINES: "".join(line for _, line in lines)} if lines else {})
        timing["power"] = {
            "sensor": power.sensor,
            "malformed": power.malformed,
            "samples": power.samples,
        }
    _put(folder, {TIMES: json.dumps(timing, indent=1, allow_nan=False) + "\n"})


def _model(model: ModelRun, number: int, folder: Path) -> dict[str, Any]:
    """Write each output of trtexec into a file, and return the model's part of timing.json, which names these files."""
    runs = []
    for turn, run in enumerate(model.trtexec):
        name = f"trtexec_{number}_{turn}.txt" if run.output is not None else None
        if name is not None:
            _put(folder, {name: run.output or ""})
        runs.append(asdict(run) | {"output": name})
    return {
        "facts": model.facts,
        "accuracy": model.accuracy,
        "scenes": [vars(scenario) for scenario in model.scenarios],
        "gallery": vars(model.gallery) if model.gallery else None,
        "trtexec": runs,
    }


def _put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
