"""The state of a Jetson around a measurement: power mode, clocks, temperatures, throttling. Reads files, changes nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from engines import board as files
from runtime.host.jetson import read_text

# What JetPack calls the GPU among /sys/class/devfreq: 17000000.gpu, 17000000.ga10b, 17000000.gv11b, gpu-gpc-0, ...
GPU = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b")
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
# What a container says of its host.
ENVIRONMENT = ("L4T_VERSION", "JETPACK_VERSION", "CUDA_VERSION")
# A chip that is always reported as 100 degrees.
CONSTANT_ZONES = ("PMIC-Die",)
FANS = ("fan",)
# of over-current events, counted since the start
COUNTER = re.compile(r"oc\d+")
ASLEEP_C = -200.0
# A clock that is held and moves by more than this was slowed down.
STEADY = 0.05


def describe(root: Path, environment: Mapping[str, str], said: str = "") -> dict[str, Any]:
    """What does not change while measuring: `engines.board.board`, CUDA, TensorRT's package and the power mode.

    `said` is what `nvpmodel -q` printed, which comes before the file that it keeps its choice in.
    """
    return files.board(root, environment) | {
        "cuda": files.cuda_version(root, environment),
        "tensorrt_package": files.tensorrt_package(root),
        "power_mode": files.power_mode(root, said),
    }


def state(root: Path) -> dict[str, Any]:
    """This moment's {clocks, locked, temperatures_c, throttling}.

    `clocks` maps gpu, cpu and emc to [{name, mhz, min_mhz, max_mhz, governor}]; `locked` is whether all of GPU and CPU are held
    at one frequency, None where the files do not say it of each. `throttling` maps every cooling device that is at work, and
    every counter of over-current events, to its number.
    """
    clocks = {"gpu": _gpu(root), "cpu": _cpu(root), "emc": _emc(root)}
    return {
        "clocks": clocks,
        "locked": locked(clocks["gpu"], clocks["cpu"]),
        "temperatures_c": temperatures_c(root),
        "throttling": throttling(root),
    }


def locked(gpu: Sequence[Mapping[str, Any]], cpu: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the lowest and the highest allowed frequency are the same for every clock.

    None where none is seen to move but the limits of one, or any GPU or CPU, cannot be read.
    """
    limits = [(clock["min_mhz"], clock["max_mhz"]) for clock in (*gpu, *cpu)]
    known = [pair for pair in limits if None not in pair]
    if any(low != high for low, high in known):
        return False
    return True if gpu and cpu and known == limits else None


def temperatures_c(root: Path) -> dict[str, float]:
    """Thermal zone -> degrees Celsius, without those that are switched off or constant."""
    found = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = read_text(zone / "type").strip(), _number(zone / "temp", 1000)
        if name and name not in CONSTANT_ZONES and value is not None and value > ASLEEP_C:
            found[name] = value
    return found


def throttling(root: Path) -> dict[str, int]:
    """Cooling device -> its state where that is not 0 (fans do not count); over-current counter -> events since the start."""
    found = {}
    for device in sorted(root.glob("sys/class/thermal/cooling_device*")):
        name, value = read_text(device / "type").strip(), _number(device / "cur_state")
        if value and not any(fan in name.lower() for fan in FANS):
            found[name or device.name] = int(value)
    for counter in sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")):
        if (value := _number(counter)) is not None:
            found[counter.name.removesuffix("_event_cnt")] = int(value)
    return found


def throttled(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """What slowed the board down in answers of `state`, in their order: cooling at work in any, counters that moved in between."""
    told = [one["throttling"] for one in states]
    cooling = {name: None for one in told for name in one if not COUNTER.fullmatch(name)}
    # a counter may start anew, too
    counters = {
        name: None
        for one, other in pairwise(told)
        for name in other
        if COUNTER.fullmatch(name) and other[name] != one.get(name, 0)
    }
    return [*counters, *cooling]


def moved(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """The clocks, as `17000000.gpu: 612 .. 1020 MHz`, that were held when the first state was taken and moved all the same."""
    if not states[0]["locked"]:
        return []
    seen: dict[str, list[float]] = {}
    for clock in (one for state in states for kind in ("gpu", "cpu") for one in state["clocks"][kind]):
        # a GPU that sleeps between two models may say 0
        if clock["mhz"]:
            seen.setdefault(clock["name"], []).append(clock["mhz"])
    return [
        f"{name}: {min(found):g} .. {max(found):g} MHz"
        for name, found in seen.items()
        if max(found) - min(found) > STEADY * max(found)
    ]


def advice(root: Path, about: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The commands that would make this board measure steadily; [] where it does already. Nobody runs them here."""
    fastest = files.fastest_mode(root)
    mode = about["power_mode"]
    # a mode that nobody could read may well be a slow one; a mode that the board does not list is none to go to
    there = fastest is None or (mode is not None and mode["id"] == fastest)
    commands = [] if there else [f"sudo nvpmodel -m {fastest}"]
    return commands + ([] if now["locked"] else ["sudo jetson_clocks"])


def doubts(root: Path, about: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> list[str]:
    """What about the board makes its times doubtful, in sentences for people; `states` from before the first time to the end."""
    found = []
    if commands := advice(root, about, states[0]):
        mode = about["power_mode"]
        words = f"power mode {mode['name'] or mode['id']}" if mode else "power mode unknown"
        held = {True: "clocks locked", False: "clocks not locked", None: "clocks unknown"}[
            states[0]["locked"]
        ]
        found.append(f"{words}, {held}: for the board's best first run {' && '.join(commands)}")
    if slowed := throttled(states):
        found.append(
            f"throttled while measuring ({', '.join(slowed)}): cool the board, or its supply is too weak"
        )
    if clocks := moved(states):
        found.append(
            f"clocks that were locked moved by more than {STEADY:.0%} ({'; '.join(clocks)}): do not trust these times"
        )
    return found


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
    """The memory's clock, which only root may read."""
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
    # "nan" and "inf" are floats too
    return value if math.isfinite(value) else None
