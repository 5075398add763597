"""Read the state of a Jetson: power mode, clocks, temperatures and throttling. Changes no setting of the board."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from engines import board as files
from runtime.host.jetson import read_text

# The kernel's names of the GPU in /sys/class/devfreq: 17000000.gpu, 17000000.ga10b, 17000000.gv11b, gpu-gpc-0, ...
GPU = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b")
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
# The variables that describe the host inside a container.
ENVIRONMENT = ("L4T_VERSION", "JETPACK_VERSION", "CUDA_VERSION")
# The thermal zone of the power chip always reports 100 degrees.
CONSTANT_ZONES = ("PMIC-Die",)
FANS = ("fan",)
# The names of counters of over-current events since the board started.
COUNTER = re.compile(r"oc\d+")
# A sensor of a part that is switched off reports a temperature below this.
ASLEEP_C = -200.0
# A locked clock that changes by more than this part of its frequency was slowed down.
STEADY = 0.05


def describe(root: Path, environment: Mapping[str, str], nvpmodel_output: str = "") -> dict[str, Any]:
    """Return the properties of the Jetson that do not change during a run: its module, software versions and power mode.

    The keys are those of `engines.board.board` and {cuda, tensorrt_package, power_mode}. A value that is not known is None. `root` is
    the folder in which the board's system files are: `/`, or the folder of a recording. `environment` has the environment variables.
    `nvpmodel_output` is what `nvpmodel -q` printed. If it is empty, the power mode comes from the file in which nvpmodel stores it.
    """
    return files.board(root, environment) | {
        "cuda": files.cuda_version(root, environment),
        "tensorrt_package": files.tensorrt_package(root),
        "power_mode": files.power_mode(root, nvpmodel_output),
    }


def state(root: Path) -> dict[str, Any]:
    """Return the board's present {clocks, locked, temperatures_c, throttling}, from the system files below `root`.

    `clocks` maps gpu, cpu and emc (the memory) to [{name, mhz, min_mhz, max_mhz, governor}], in which a value that cannot be read is
    None. The other three values come from the functions `locked`, `temperatures_c` and `throttling`.
    """
    clocks = {"gpu": _gpu(root), "cpu": _cpu(root), "emc": _emc(root)}
    return {
        "clocks": clocks,
        "locked": locked(clocks["gpu"], clocks["cpu"]),
        "temperatures_c": temperatures_c(root),
        "throttling": throttling(root),
    }


def locked(gpu: Sequence[Mapping[str, Any]], cpu: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return whether every clock is locked, which means that its lowest and highest allowed frequencies are equal.

    `gpu` and `cpu` are the lists of clocks from `state`. The result is False if one clock is known not to be locked. Otherwise, it is
    None if a limit cannot be read, or if `gpu` or `cpu` is empty.
    """
    limits = [(clock["min_mhz"], clock["max_mhz"]) for clock in (*gpu, *cpu)]
    known = [pair for pair in limits if None not in pair]
    if any(low != high for low, high in known):
        return False
    return True if gpu and cpu and known == limits else None


def temperatures_c(root: Path) -> dict[str, float]:
    """Return the temperature of each thermal zone in degrees Celsius, by the name of the zone.

    `root` is the folder of the system files. Zones that are switched off, or that always report the same value, are left out.
    """
    temperatures = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = read_text(zone / "type").strip(), _number(zone / "temp", 1000)
        if name and name not in CONSTANT_ZONES and value is not None and value > ASLEEP_C:
            temperatures[name] = value
    return temperatures


def throttling(root: Path) -> dict[str, int]:
    """Return the state of each active cooling device, and the count of each over-current counter since the board started.

    Both are in one dict, by their names. `root` is the folder of the system files. A cooling device slows the board down while its
    state is above 0. Fans are left out, because they do not slow the board down.
    """
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
    """Return the names of what slowed the board down during a measurement.

    `states` come from `state`, in the order of time. The result has the over-current counters that changed between two states, and
    the cooling devices that were active in any state.
    """
    causes = [state["throttling"] for state in states]
    cooling = {name: None for cause in causes for name in cause if not COUNTER.fullmatch(name)}
    # Compare for inequality, because a counter may also restart at 0.
    counters = {
        name: None
        for before, after in pairwise(causes)
        for name in after
        if COUNTER.fullmatch(name) and after[name] != before.get(name, 0)
    }
    return [*counters, *cooling]


def moved(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the locked clocks whose frequency changed by more than 5 %, such as `17000000.gpu: 612 .. 1020 MHz`.

    `states` come from `state`, in the order of time. If the clocks were not locked in the first state, the result is empty.
    """
    if not states[0]["locked"]:
        return []
    frequencies: dict[str, list[float]] = {}
    for clock in (clock for state in states for kind in ("gpu", "cpu") for clock in state["clocks"][kind]):
        # A GPU that sleeps between two models may report 0.
        if clock["mhz"]:
            frequencies.setdefault(clock["name"], []).append(clock["mhz"])
    return [
        f"{name}: {min(mhz):g} .. {max(mhz):g} MHz"
        for name, mhz in frequencies.items()
        if max(mhz) - min(mhz) > STEADY * max(mhz)
    ]


def advice(root: Path, description: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the commands that select the fastest power mode and lock the clocks, for steady times.

    The list is empty if the board is already in this state. This project never runs the commands. `root` is the folder of the system
    files, `description` comes from `describe`, and `now` comes from `state`.
    """
    fastest = files.fastest_mode(root)
    mode = description["power_mode"]
    # An unknown mode may be a slow one, so it counts as another mode. If the board lists no fastest mode, there is nothing to change.
    in_fastest = fastest is None or (mode is not None and mode["id"] == fastest)
    commands = [] if in_fastest else [f"sudo nvpmodel -m {fastest}"]
    return commands + ([] if now["locked"] else ["sudo jetson_clocks"])


def doubts(root: Path, description: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line of text for each condition of the board that makes its times unreliable.

    `description` comes from `describe`. `states` come from `state`: before the first measurement, after each measurement, and at the
    end.
    """
    warnings = []
    if commands := advice(root, description, states[0]):
        mode = description["power_mode"]
        mode_text = f"power mode {mode['name'] or mode['id']}" if mode else "power mode unknown"
        clocks_text = {True: "clocks locked", False: "clocks not locked", None: "clocks unknown"}[
            states[0]["locked"]
        ]
        warnings.append(
            f"{mode_text}, {clocks_text}: for the shortest and steadiest times, first run {' && '.join(commands)}"
        )
    if causes := throttled(states):
        warnings.append(
            f"the board was throttled while measuring ({', '.join(causes)}): cool it, or use a stronger power supply"
        )
    if clocks := moved(states):
        warnings.append(
            f"locked clocks changed by more than {STEADY:.0%} ({'; '.join(clocks)}): do not trust these times; "
            "cool the board, and measure again"
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
    """Return the memory clock as a list, which is empty unless the user is root."""
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
    # float() also accepts "nan" and "inf".
    return value if math.isfinite(value) else None
