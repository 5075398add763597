"""The state of one NVIDIA graphics card around a measurement, as nvidia-smi tells it. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.device.power.nvml import device

# nvidia-smi's name -> (ours, whether it is a number)
FIELDS = {
    "name": ("name", False),
    "driver_version": ("driver", False),
    "pstate": ("performance_state", False),
    "persistence_mode": ("persistence_mode", False),
    "power.limit": ("power_limit_w", True),
    "clocks.sm": ("sm_mhz", True),
    "clocks.max.sm": ("sm_max_mhz", True),
    "clocks.mem": ("memory_mhz", True),
    "temperature.gpu": ("temperature_c", True),
}
# Drivers from 535 on say "event" for what older ones call "throttle".
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# The bits of it that mean a card slower than it could be (nvml.h); idle and clocks set on purpose are none.
SLOWED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
}
TIMEOUT_S = 20


def state(environment: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """This moment's {name, driver, performance_state, ..., sm_mhz, temperature_c, throttling}; None without nvidia-smi.

    `throttling` names what slows the card down now, None where the driver does not say. Other values are None where it says
    none, as "[N/A]".
    """
    cells = _query(list(FIELDS), environment)
    if cells is None:
        return None
    found = {ours: _value(cell, number) for (ours, number), cell in zip(FIELDS.values(), cells)}
    answers = (_query([name], environment) for name in REASONS)
    mask = next(
        (answer[0] for answer in answers if answer and re.fullmatch("0x[0-9a-fA-F]+", answer[0])), None
    )
    slowed = None if mask is None else [word for bit, word in SLOWED.items() if int(mask, 16) & bit]
    return {**found, "throttling": slowed}


def advice(now: Mapping[str, Any] | None) -> list[str]:
    """The commands that would hold this card's clocks; whether they are held no driver tells. Nobody runs them here."""
    if now is None:
        return []
    keep = [] if now["persistence_mode"] == "Enabled" else ["sudo nvidia-smi -pm 1"]
    top = now["sm_max_mhz"]
    return keep + ([] if top is None else [f"sudo nvidia-smi -lgc {top:g},{top:g}"])


def doubts(states: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """What about the card makes its times doubtful, in sentences for people; `states` from right behind each time."""
    slowed = dict.fromkeys(word for one in states if one for word in one["throttling"] or ())
    return [f"the card was slowed down while measuring ({', '.join(slowed)})"] if slowed else []


def _query(names: Sequence[str], environment: Mapping[str, str]) -> list[str] | None:
    """The cells of one line of CSV; None where nvidia-smi is not there, fails, or gives another number of cells."""
    command = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if command is None:
        return None
    asked = [f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", f"--id={device(environment)}"]
    try:
        done = subprocess.run(
            [command, *asked], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    cells = [cell.strip() for cell in done.stdout.partition("\n")[0].split(",")]
    return cells if done.returncode == 0 and len(cells) == len(names) else None


def _value(cell: str, number: bool) -> str | float | None:
    if not number:
        return None if cell.startswith("[") or not cell else cell
    return float(cell) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", cell) else None
