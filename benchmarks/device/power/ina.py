"""Read a board's power from its INA chips (INA3221, INA226, ...) through files of the kernel, without root permissions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.host.jetson import read_text

# The kernel's names of the chips: ina219, ina226, ina238, ina3221, ina3221x, ...
CHIP = re.compile(r"ina\d{3,4}")
# The only chip with several channels. Its channels above 3 are shunt voltages and their sum, which are not needed.
THREE_CHANNELS, CHANNELS = "ina3221", (1, 2, 3)
UNCONNECTED = "NC"
# The kernel's hwmon files give microwatts, millivolts and milliamperes.
MICRO = 1000.0


@dataclass(frozen=True)
class Rail:
    """One power rail, the `chip` that measures it, and the files from which its present power is read.

    The number in the file `power`, divided by `unit`, is the power in mW. If `power` is None, the file `volt` has the voltage in mV,
    and the file `current` has the current in mA.
    """

    name: str
    chip: str
    power: Path | None
    volt: Path | None = None
    current: Path | None = None
    unit: float = 1.0


def find_rails(root: Path) -> list[Rail]:
    """Return the power rails of all INA chips that the system files below `root` describe. Without such a chip, the list is empty."""
    return [*_hwmon_rails(root), *_iio_rails(root)]


def read_rails(rails: Sequence[Rail]) -> dict[str, float]:
    """Read and return the present power of each rail, {name: mW}. Rails that cannot be read are left out."""
    readings = {rail.name: _milliwatts(rail) for rail in rails}
    return {name: value for name, value in readings.items() if value is not None}


def chips(rails: Sequence[Rail]) -> str:
    """Return the names of the chips that measure these rails, joined by +, such as `INA238+INA3221`."""
    return "+".join(sorted({rail.chip.upper() for rail in rails}))


def _hwmon_rails(root: Path) -> Iterator[Rail]:
    """Find the rails of JetPack 5 and later: /sys/class/hwmon/hwmon*/name and the files beside it."""
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        chip = CHIP.match(read_text(folder / "name").strip())
        if chip is None:
            continue
        several = chip[0] == THREE_CHANNELS
        for channel in CHANNELS if several else (1,):
            name = _name(folder, channel, chip[0], several=several)
            power, volt = folder / f"power{channel}_input", folder / f"in{channel}_input"
            if name == UNCONNECTED or not (power.is_file() or volt.is_file()):
                continue
            if power.is_file():
                yield Rail(name, chip[0], power, unit=MICRO)
            else:
                yield Rail(name, chip[0], None, volt, folder / f"curr{channel}_input")


def _name(folder: Path, channel: int, chip: str, *, several: bool) -> str:
    """Return the name that the board's files give a rail, or else a unique name from its chip and the chip's address."""
    labels = [folder / f"{kind}{channel}_label" for kind in ("power", "in", "curr")]
    if not several:
        # These files have the name of the whole chip.
        labels += [folder / "label", folder / "of_node/label", folder / "device/of_node/label"]
    for label in labels:
        if name := read_text(label).strip():
            return name
    place = (folder / "device").resolve().name if (folder / "device").is_symlink() else folder.name
    return f"{chip}@{place}" + (f"#{channel}" if several else "")


def _iio_rails(root: Path) -> Iterator[Rail]:
    """Find the rails of JetPack 4: /sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0/rail_name_0, in_power0_input (mW)."""
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina*/*/iio:device*/rail_name_*")):
        name, channel = read_text(label).strip(), label.name.removeprefix("rail_name_")
        chip = CHIP.match(label.parents[2].name)
        if name and name != UNCONNECTED and chip:
            yield Rail(name, chip[0], label.parent / f"in_power{channel}_input")


def _milliwatts(rail: Rail) -> float | None:
    if rail.power is not None:
        power = _number(rail.power)
        return None if power is None else power / rail.unit
    volt, current = (_number(path) if path else None for path in (rail.volt, rail.current))
    return None if volt is None or current is None else volt * current / 1000


def _number(path: Path) -> float | None:
    number = re.match(r"\s*(-?\d{1,12}(?:\.\d+)?)(?=\s|$)", read_text(path))
    return float(number[1]) if number else None
