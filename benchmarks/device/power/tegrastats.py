"""Parse one line of NVIDIA's tegrastats. The functions are pure.

They understand the lines of JetPack 4 (Nano, Xavier), JetPack 6 (AGX Orin, Orin Nano), JetPack 7.2 (AGX Orin, with three numbers for
each rail and a list of GPU clocks) and JetPack 7 on Thor (without GPU utilisation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# The longest line that is parsed. Even a board with many cores and rails prints much shorter lines.
LONGEST = 16384
# A number with more digits comes from a broken line.
N = r"[0-9]{1,9}"
RAM = re.compile(rf"(?<!\w)RAM ({N})/({N})MB(?=\s|$)")
SWAP = re.compile(rf"(?<!\w)SWAP ({N})/({N})MB(?=\s|$)")
# "[3%@102,off]", on Thor "[0%,5%,off]@2601". In a whole line, more text follows this value and the next two. At the end of a line that
# was cut off, a number may have lost digits and does not match.
CPU = re.compile(rf"(?<!\w)CPU \[([^\]]*)\](?:@({N}))?(?=\s)")
CORE = re.compile(rf"({N})%(?:@({N}))?$")
EMC = re.compile(rf"(?<!\w)EMC_FREQ (?:({N})%)?(?:@(?:({N})|off))?(?=\s)")
# "41%", "84%@[713]", "@[300,off,600]", "0%@114"
GPU = re.compile(rf"(?<!\w)GR3D_FREQ (?:({N})%)?(?:@(?:\[([^\]]*)\]|({N})|off))?(?=\s)")
# "CPU@44.5C", from JetPack 7.2 on "cpu@52.9C/52.9C"
TEMPERATURE = re.compile(rf"(?<![\w@])([A-Za-z]\w*)@(-?{N}(?:\.{N})?)C(?=[\s/]|$)")
# "VDD_IN 17946mW/15710mW", on JetPack 4 without units, on JetPack 7.2 with a third number. The first number is the present power.
RAIL = re.compile(rf"(?<![@\w])([A-Z][A-Z0-9_]*) (-?{N})(?:mW)?/-?{N}(?:mW)?(?:/-?{N}(?:mW)?)?(?=\s|$)")
# Names that look like rails but are not: memory, which is printed in the same form, and channels that are not connected.
NO_RAILS = {"RAM", "SWAP", "IRAM", "NC"}
# The temperature sensor of a part that is switched off reports -256.
ASLEEP_C = -200.0


@dataclass(frozen=True)
class Record:
    """The values in one line of tegrastats. A value that the line does not contain is None or empty.

    `ram_mb` and `swap_mb` are (used, total). `cores` has (load in %, clock in MHz or None) for each core, and None for a core that is
    off. `gpu_mhz` has the clock of each GPU cluster, and None for a cluster that is off. `emc` is the memory controller. The keys of
    `temperatures_c` and `rails_mw` are the names that the board gives its thermal zones and power rails.
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
    """Parse one line of tegrastats, which may be cut off anywhere. Returns None for a line that is not from tegrastats."""
    if len(line) > LONGEST:
        return None
    gpu, emc = GPU.search(line), EMC.search(line)
    clocks = (gpu[2] or gpu[3] or "") if gpu else ""
    record = Record(
        ram_mb=_pair(RAM, line),
        swap_mb=_pair(SWAP, line),
        cores=_cores(line),
        gpu_percent=_number(gpu[1] if gpu else None),
        gpu_mhz=tuple(_integer(part) for part in clocks.split(",")) if clocks.strip() else (),
        emc_percent=_number(emc[1] if emc else None),
        emc_mhz=_number(emc[2] if emc else None),
        temperatures_c={
            name: float(value) for name, value in TEMPERATURE.findall(line) if float(value) > ASLEEP_C
        },
        rails_mw={name: int(value) for name, value in RAIL.findall(line) if name not in NO_RAILS},
    )
    return record if record != Record() else None


def _pair(pattern: re.Pattern[str], line: str) -> tuple[int, int] | None:
    match = pattern.search(line)
    return (int(match[1]), int(match[2])) if match else None


def _cores(line: str) -> tuple[tuple[int, int | None] | None, ...]:
    match = CPU.search(line)
    if not match or not match[1]:
        return ()
    # A clock after the list is the clock of each core for which the list has none.
    cells = (CORE.match(cell.strip()) for cell in match[1].split(","))
    return tuple((int(cell[1]), _number(cell[2] or match[2])) if cell else None for cell in cells)


def _integer(text: str) -> int | None:
    """Return an entry of a list as an integer, or None for `off` and any other entry that is not a number."""
    return int(text) if re.fullmatch(rf"\s*{N}\s*", text) else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
