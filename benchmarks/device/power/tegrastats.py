"""One line of NVIDIA's tegrastats as data. Pure: starts nothing, and knows no meaning of a rail but its name.

Written for the forms of JetPack 4 (Nano, Xavier), 6 (AGX Orin, Orin Nano), 7.2 (AGX Orin: triples, a list of GPU clocks)
and 7 on Thor (no GPU utilisation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# No line of a board with many cores and rails comes near it; what does is no line.
LONGEST = 16384
# More digits than any number here has come from a broken line.
N = r"[0-9]{1,9}"
RAM = re.compile(rf"(?<!\w)RAM ({N})/({N})MB(?=\s|$)")
SWAP = re.compile(rf"(?<!\w)SWAP ({N})/({N})MB(?=\s|$)")
# "[3%@102,off]", on Thor "[0%,5%,off]@2601"; neither this clock nor what follows ever ends a line: a number there may have lost digits
CPU = re.compile(rf"(?<!\w)CPU \[([^\]]*)\](?:@({N}))?(?=\s)")
CORE = re.compile(rf"({N})%(?:@({N}))?$")
EMC = re.compile(rf"(?<!\w)EMC_FREQ (?:({N})%)?(?:@(?:({N})|off))?(?=\s)")
# "41%", "84%@[713]", "@[300,off,600]", "0%@114"
GPU = re.compile(rf"(?<!\w)GR3D_FREQ (?:({N})%)?(?:@(?:\[([^\]]*)\]|({N})|off))?(?=\s)")
# "CPU@44.5C", from JetPack 7.2 on "cpu@52.9C/52.9C"
TEMPERATURE = re.compile(rf"(?<![\w@])([A-Za-z]\w*)@(-?{N}(?:\.{N})?)C(?=[\s/]|$)")
# "VDD_IN 17946mW/15710mW", JetPack 4 without units, 7.2 with a third number: the first is the present power
RAIL = re.compile(rf"(?<![@\w])([A-Z][A-Z0-9_]*) (-?{N})(?:mW)?/-?{N}(?:mW)?(?:/-?{N}(?:mW)?)?(?=\s|$)")
# memory, which has the same shape, and channels that are not connected
NO_RAILS = {"RAM", "SWAP", "IRAM", "NC"}
# what a sensor of a unit without power reads: -256
ASLEEP_C = -200.0


@dataclass(frozen=True)
class Record:
    """One line; what it does not say is None or empty.

    `ram_mb`, `swap_mb` (used, total); `cores` one (load in %, MHz or None) each, None for one that is off; `gpu_mhz` one for each
    GPU cluster, None for one that is off; `temperatures_c` and `rails_mw` by the names of this board, known here or not.
    """

    ram_mb: tuple[int, int] | None = None
    swap_mb: tuple[int, int] | None = None
    cores: tuple[tuple[int, int | None] | None, ...] = ()
    gpu_percent: int | None = None
    gpu_mhz: tuple[int | None, ...] = ()
    emc_percent: int | None = None
    emc_mhz: int | None = None
    temperatures_c: dict[str, float] = field(default_factory=dict)
    rails_mw: dict[str, int] = field(default_factory=dict)


def parse(line: str) -> Record | None:
    """The record of one line, whole or cut off anywhere; None for a line that holds nothing of tegrastats."""
    if len(line) > LONGEST:
        return None
    gpu, emc = GPU.search(line), EMC.search(line)
    clocks = (gpu[2] or gpu[3] or "") if gpu else ""
    record = Record(
        ram_mb=_pair(RAM, line),
        swap_mb=_pair(SWAP, line),
        cores=_cores(line),
        gpu_percent=_number(gpu[1] if gpu else None),
        gpu_mhz=tuple(_whole(part) for part in clocks.split(",")) if clocks.strip() else (),
        emc_percent=_number(emc[1] if emc else None),
        emc_mhz=_number(emc[2] if emc else None),
        temperatures_c={
            name: float(value) for name, value in TEMPERATURE.findall(line) if float(value) > ASLEEP_C
        },
        rails_mw={name: int(value) for name, value in RAIL.findall(line) if name not in NO_RAILS},
    )
    return record if record != Record() else None


def _pair(pattern: re.Pattern[str], line: str) -> tuple[int, int] | None:
    found = pattern.search(line)
    return (int(found[1]), int(found[2])) if found else None


def _cores(line: str) -> tuple[tuple[int, int | None] | None, ...]:
    found = CPU.search(line)
    if not found or not found[1]:
        return ()
    # the clock behind the list is that of every core without one of its own
    cells = (CORE.match(cell.strip()) for cell in found[1].split(","))
    return tuple((int(cell[1]), _number(cell[2] or found[2])) if cell else None for cell in cells)


def _whole(text: str) -> int | None:
    """The number of a list's cell; None for `off` and whatever is no number."""
    return int(text) if re.fullmatch(rf"\s*{N}\s*", text) else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
