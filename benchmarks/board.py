"""The state of a Jetson around a measurement: power mode, clocks, temperatures, throttling. Reads files, changes nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import board as files
from runtime.jetson import read_text

# What JetPack calls the GPU among /sys/class/devfreq: 17000000.gpu, 17000000.ga10b, 17000000.gv11b, gpu-gpc-0, ...
GPU = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b")
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
# A chip that is always reported as 100 degrees.
CONSTANT_ZONES = ("PMIC-Die",)
FANS = ("fan",)
ASLEEP_C = -200.0


def describe(root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """What does not change while measuring: `engines.board.board`, CUDA, TensorRT's package and the power mode."""
    return files.board(root, environment) | {
        "cuda": files.cuda_version(root, environment),
        "tensorrt_package": files.tensorrt_package(root),
        "power_mode": files.power_mode(root, said_of_mode(root)),
    }


def said_of_mode(root: Path) -> str:
    """What `nvpmodel -q` prints on the running machine; "" elsewhere, without it, or where it wants root."""
    if root != Path("/") or not (command := shutil.which("nvpmodel")):
        return ""
    try:
        return subprocess.run([command, "-q"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def state(root: Path) -> dict[str, Any]:
    """This moment's {clocks, locked, temperatures_c, throttling}.

    `clocks` maps gpu, cpu and emc to [{name, mhz, min_mhz, max_mhz, governor}]; `locked` is whether all of GPU and CPU are held
    at one frequency, None where no limits can be read. `throttling` maps every cooling device that is at work, and every counter
    of over-current events, to its number.
    """
    clocks = {"gpu": _gpu(root), "cpu": _cpu(root), "emc": _emc(root)}
    return {
        "clocks": clocks,
        "locked": locked([*clocks["gpu"], *clocks["cpu"]]),
        "temperatures_c": temperatures_c(root),
        "throttling": throttling(root),
    }


def locked(clocks: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the lowest and the highest allowed frequency are the same for every clock; None without a limit to read."""
    limits = [(clock["min_mhz"], clock["max_mhz"]) for clock in clocks]
    known = [pair for pair in limits if None not in pair]
    return all(low == high for low, high in known) if known else None


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


def throttled(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What slowed the board down between two answers of `state`: cooling at work in either, over-current events that grew."""
    old, new = before["throttling"], after["throttling"]
    return [
        name
        for name in dict.fromkeys([*old, *new])
        if (new.get(name, 0) > old.get(name, 0) if re.fullmatch(r"oc\d+", name) else True)
    ]


def advice(root: Path, about: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The commands that would make this board measure steadily; [] where it does already. Nobody runs them here."""
    fastest = files.fastest_mode(root)
    mode = about["power_mode"]
    # a mode that nobody could read may well be a slow one
    commands = [] if mode and mode["id"] == fastest else [f"sudo nvpmodel -m {fastest}"]
    return commands + ([] if now["locked"] else ["sudo jetson_clocks"])


def doubts(
    root: Path, about: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """What about the board makes its times doubtful, in sentences for people."""
    found = []
    if commands := advice(root, about, before):
        mode = about["power_mode"]
        words = f"power mode {mode['name'] or mode['id']}" if mode else "power mode unknown"
        held = {True: "clocks locked", False: "clocks not locked", None: "clocks unknown"}[before["locked"]]
        found.append(f"{words}, {held}: for the board's best first run {' && '.join(commands)}")
    if slowed := throttled(before, after):
        found.append(
            f"throttled while measuring ({', '.join(slowed)}): cool the board, or its supply is too weak"
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
        return float(read_text(path)) / unit
    except ValueError:
        return None
