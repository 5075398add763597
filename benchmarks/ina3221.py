"""The INA3221 power monitors of a Jetson, read from the kernel's files; needs no root. Knows no tegrastats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runtime.jetson import read_text

# the sum of a chip's shunt voltages, which is no rail
SUM_CHANNEL = 7
UNCONNECTED = "NC"


@dataclass(frozen=True)
class Rail:
    """One rail and the files of its power: `power` in mW (JetPack 4), else `volt` in mV and `current` in mA."""

    name: str
    power: Path | None
    volt: Path | None = None
    current: Path | None = None


def find_rails(root: Path) -> list[Rail]:
    """The rails of every INA3221 under `root`, by the names the board gives them; [] where there is none."""
    return [*_hwmon_rails(root), *_iio_rails(root)]


def read_rails(rails: list[Rail]) -> dict[str, float]:
    """Name -> mW, without the rails that cannot be read at this moment."""
    found = {rail.name: _milliwatts(rail) for rail in rails}
    return {name: value for name, value in found.items() if value is not None}


def _hwmon_rails(root: Path) -> list[Rail]:
    """JetPack 5 and later: /sys/class/hwmon/hwmon*/in1_label, in1_input (mV), curr1_input (mA)."""
    rails = []
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if "ina3221" not in read_text(folder / "name"):
            continue
        for label in sorted(folder.glob("in*_label")):
            number = re.fullmatch(r"in(\d+)_label", label.name)
            name = read_text(label).strip()
            if not number or int(number[1]) == SUM_CHANNEL or not name or name == UNCONNECTED:
                continue
            channel = number[1]
            rails.append(Rail(name, None, folder / f"in{channel}_input", folder / f"curr{channel}_input"))
    return rails


def _iio_rails(root: Path) -> list[Rail]:
    """JetPack 4: /sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0/rail_name_0, in_power0_input (mW)."""
    rails = []
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*")):
        name, channel = read_text(label).strip(), label.name.removeprefix("rail_name_")
        if name and name != UNCONNECTED:
            rails.append(Rail(name, label.parent / f"in_power{channel}_input"))
    return rails


def _milliwatts(rail: Rail) -> float | None:
    if rail.power is not None:
        return _number(rail.power)
    volt, current = (_number(path) if path else None for path in (rail.volt, rail.current))
    return None if volt is None or current is None else volt * current / 1000


def _number(path: Path) -> float | None:
    found = re.match(r"\s*(-?\d{1,9}(?:\.\d+)?)(?=\s|$)", read_text(path))
    return float(found[1]) if found else None
