"""Read the state of a Jetson around a measurement: power mode, clocks, temperatures and throttling. Changes nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from engines import board as files
from runtime.host.jetson import read_text

# JetPack's names of the GPU in /sys/class/devfreq: 17000000.gpu, 17000000.ga10b, 17000000.gv11b, gpu-gpc-0, ...
GPU = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b")
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
# The variables that describe the host inside a container.
ENVIRONMENT = ("L4T_VERSION", "JETPACK_VERSION", "CUDA_VERSION")
# The zone of a chip that always reports 100 degrees.
CONSTANT_ZONES = ("PMIC-Die",)
FANS = ("fan",)
# counters of over-current events since the start
COUNTER = re.compile(r"oc\d+")
ASLEEP_C = -200.0
# A locked clock that moves by more than this part of its frequency was slowed down.
STEADY = 0.05


def describe(root: Path, environment: Mapping[str, str], nvpmodel_output: str = "") -> dict[str, Any]:
    """Return what does not change during a run: `engines.board.board`, CUDA, TensorRT's package and the power mode.

    `nvpmodel_output` is what `nvpmodel -q` printed; it takes precedence over the file in which nvpmodel keeps the mode.
    """
    return files.board(root, environment) | {
        "cuda": files.cuda_version(root, environment),
        "tensorrt_package": files.tensorrt_package(root),
        "power_mode": files.power_mode(root, nvpmodel_output),
    }


def state(root: Path) -> dict[str, Any]:
    """Return the present {clocks, locked, temperatures_c, throttling}.

    `clocks` maps gpu, cpu and emc to [{name, mhz, min_mhz, max_mhz, governor}]. `locked` says whether every GPU and CPU clock is
    held at one frequency, and is None where the files do not tell. `throttling` maps every active cooling device to its state,
    and every counter of over-current events to its count.
    """
    clocks = {"gpu": _gpu(root), "cpu": _cpu(root), "emc": _emc(root)}
    return {
        "clocks": clocks,
        "locked": locked(clocks["gpu"], clocks["cpu"]),
        "temperatures_c": temperatures_c(root),
        "throttling": throttling(root),
    }


def locked(gpu: Sequence[Mapping[str, Any]], cpu: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return whether every clock has the same lowest and highest allowed frequency.

    None where no clock is known to be free, but a limit cannot be read, or no GPU or no CPU clock is listed.
    """
    limits = [(clock["min_mhz"], clock["max_mhz"]) for clock in (*gpu, *cpu)]
    known = [pair for pair in limits if None not in pair]
    if any(low != high for low, high in known):
        return False
    return True if gpu and cpu and known == limits else None


def temperatures_c(root: Path) -> dict[str, float]:
    """Return thermal zone -> degrees Celsius, without the zones that are switched off or constant."""
    temperatures = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = read_text(zone / "type").strip(), _number(zone / "temp", 1000)
        if name and name not in CONSTANT_ZONES and value is not None and value > ASLEEP_C:
            temperatures[name] = value
    return temperatures


def throttling(root: Path) -> dict[str, int]:
    """Return cooling device -> its state if that is not 0 (without fans), and over-current counter -> events since the start."""
    causes = {}
    for device in sorted(root.glob("sys/class/thermal/cooling_device*")):
        name, value = read_text(device / "type").strip(), _number(device / "cur_state")
        if value and not any(fan in name.lower() for fan in FANS):
            causes[name or device.name] = int(value)
    for counter in sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")):
        if (value := _number(counter)) is not None:
            causes[counter.name.removesuffix("_event_cnt")] = int(value)
    return causes


def throttled(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what slowed the board down between the first and the last of `states`, which are in the order of time.

    These are the counters that changed between two states, and the cooling devices that were active in any state.
    """
    causes = [state["throttling"] for state in states]
    cooling = {name: None for cause in causes for name in cause if not COUNTER.fullmatch(name)}
    # a counter may also restart
    counters = {
        name: None
        for before, after in pairwise(causes)
        for name in after
        if COUNTER.fullmatch(name) and after[name] != before.get(name, 0)
    }
    return [*counters, *cooling]


def moved(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the clocks that moved although the first state says that they were locked: `17000000.gpu: 612 .. 1020 MHz`."""
    if not states[0]["locked"]:
        return []
    frequencies: dict[str, list[float]] = {}
    for clock in (clock for state in states for kind in ("gpu", "cpu") for clock in state["clocks"][kind]):
        # a GPU that sleeps between two models may read 0
        if clock["mhz"]:
            frequencies.setdefault(clock["name"], []).append(clock["mhz"])
    return [
        f"{name}: {min(mhz):g} .. {max(mhz):g} MHz"
        for name, mhz in frequencies.items()
        if max(mhz) - min(mhz) > STEADY * max(mhz)
    ]


def advice(root: Path, description: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the commands that would make this board measure steadily; [] where none is needed. This project never runs them.

    `description` comes from `describe`, and `now` from `state`.
    """
    fastest = files.fastest_mode(root)
    mode = description["power_mode"]
    # an unknown mode may be a slow one; a board that lists no fastest mode has none to change to
    in_fastest = fastest is None or (mode is not None and mode["id"] == fastest)
    commands = [] if in_fastest else [f"sudo nvpmodel -m {fastest}"]
    return commands + ([] if now["locked"] else ["sudo jetson_clocks"])


def doubts(root: Path, description: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return warnings about the board that make its times doubtful.

    `states` are the board's states in order: before the first measurement, between measurements, and after the last.
    """
    warnings = []
    if commands := advice(root, description, states[0]):
        mode = description["power_mode"]
        mode_text = f"power mode {mode['name'] or mode['id']}" if mode else "power mode unknown"
        clocks_text = {True: "clocks locked", False: "clocks not locked", None: "clocks unknown"}[
            states[0]["locked"]
        ]
        warnings.append(
            f"{mode_text}, {clocks_text}: for the board's best times, first run {' && '.join(commands)}"
        )
    if causes := throttled(states):
        warnings.append(
            f"the board was throttled while measuring ({', '.join(causes)}): cool it, or use a stronger power supply"
        )
    if clocks := moved(states):
        warnings.append(
            f"locked clocks moved by more than {STEADY:.0%} ({'; '.join(clocks)}): do not trust these times"
        )
    return warnings


def _gpu(root: Path) -> list[dict[str, Any]]:
    folders = [path for path in sorted(root.glob("sys/class/devfreq/*")) if GPU.search(path.name)]
    return [
        _clock(
            folder.name, folder / "cur_freq", folder / "min_freq", folder / "max_freq", folder / "governor"
        )
        for folder in folders
    ]


def _cpu(root: Path) -> list[dict[str, Any]]:
    return [
        _clock(
            folder.name,
            folder / "scaling_cur_freq",
            folder / "scaling_min_freq",
            folder / "scaling_max_freq",
            folder / "scaling_governor",
            unit=1000,
        )
        for folder in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*"))
    ]


def _emc(root: Path) -> list[dict[str, Any]]:
    """Return the clock of the memory, which only root can read."""
    folder = root / EMC
    rate = _number(folder / "rate", 1_000_000)
    if rate is None:
        return []
    return [_clock("emc", folder / "rate", folder / "min_rate", folder / "max_rate", folder / "none")]


def _clock(
    name: str, now: Path, low: Path, high: Path, governor: Path, *, unit: int = 1_000_000
) -> dict[str, Any]:
    return {
        "name": name,
        "mhz": _number(now, unit),
        "min_mhz": _number(low, unit),
        "max_mhz": _number(high, unit),
        "governor": read_text(governor).strip() or None,
    }


def _number(path: Path, unit: int = 1) -> float | None:
    try:
        value = float(read_text(path)) / unit
    except ValueError:
        return None
    # float() also accepts "nan" and "inf"
    return value if math.isfinite(value) else None
