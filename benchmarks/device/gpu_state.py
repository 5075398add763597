"""Read the state of one NVIDIA graphics card from nvidia-smi: clocks, temperature and throttling. Changes no setting."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.device.power.nvml import device

# The field of nvidia-smi -> (the key in our documents, whether the value is a number).
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
# Drivers from version 535 on name the field "event", and older drivers name it "throttle".
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# The bits that say why a card is slower than it could be (nvml.h), without the bits for an idle card and for clocks that were set on
# purpose.
SLOWED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
}
TIMEOUT_S = 20


def state(environment: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Return the present state of the card that is CUDA device 0. Returns None if nvidia-smi does not work.

    The keys are {name, driver, performance_state, persistence_mode, power_limit_w, sm_mhz, sm_max_mhz, memory_mhz, temperature_c,
    throttling}. `throttling` lists the reasons why the card is slowed down now. A value that the driver does not report is None.
    `environment` has the environment variables.
    """
    cells = _query(list(FIELDS), environment)
    if cells is None:
        return None
    values = {name: _value(cell, numeric) for (name, numeric), cell in zip(FIELDS.values(), cells)}
    answers = (_query([name], environment) for name in REASONS)
    mask = next(
        (answer[0] for answer in answers if answer and re.fullmatch("0x[0-9a-fA-F]+", answer[0])), None
    )
    slowed = None if mask is None else [word for bit, word in SLOWED.items() if int(mask, 16) & bit]
    return {**values, "throttling": slowed}


def advice(now: Mapping[str, Any] | None) -> list[str]:
    """Return shell commands that lock the clocks of the card whose state is `now`. The list is empty if `now` is None.

    `now` is the result of `state`. This project only shows the commands and never runs them. They are also returned for a card whose
    clocks are locked already, because no driver reports whether they are.
    """
    if now is None:
        return []
    persistence = [] if now["persistence_mode"] == "Enabled" else ["sudo nvidia-smi -pm 1"]
    top_mhz = now["sm_max_mhz"]
    return persistence + ([] if top_mhz is None else [f"sudo nvidia-smi -lgc {top_mhz:g},{top_mhz:g}"])


def doubts(states: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Return a list with one warning if the card was slowed down in any of `states`, or else an empty list.

    `states` are results of `state`, which were read right after each timing.
    """
    causes = dict.fromkeys(cause for state in states if state for cause in state["throttling"] or ())
    if not causes:
        return []
    return [
        f"the card was slowed down while measuring ({', '.join(causes)}): cool it, or raise its power limit, and measure again"
    ]


def _query(names: Sequence[str], environment: Mapping[str, str]) -> list[str] | None:
    """Return the values of the fields `names` from nvidia-smi. Returns None if it is missing, fails, or gives other fields."""
    command = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if command is None:
        return None
    query = [f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", f"--id={device(environment)}"]
    try:
        finished = subprocess.run(
            [command, *query], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    cells = [cell.strip() for cell in finished.stdout.partition("\n")[0].split(",")]
    return cells if finished.returncode == 0 and len(cells) == len(names) else None


def _value(cell: str, numeric: bool) -> str | float | None:
    if not numeric:
        return None if cell.startswith("[") or not cell else cell
    return float(cell) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", cell) else None
