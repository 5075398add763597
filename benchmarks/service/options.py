"""What a measurement of the service is given. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEASUREMENTS = ("search", "soak", "overload", "stop", "trickle")


@dataclass(frozen=True)
class ServiceOptions:
    """The command line of `python -m benchmarks.service`.

    `measurements` are some of MEASUREMENTS. `model` is the model file of the server, and `pictures` a folder of crops to search
    with. `rows` are the sizes of the galleries; only `search` uses more than the first. Each load lasts `seconds`, and the soak
    `minutes`. `stops` servers are stopped, and `sockets` connections trickle. `cores` are the core of the server and that of the
    generator. Galleries are made below `at` (None: in a temporary folder).
    """

    measurements: tuple[str, ...]
    model: Path
    pictures: Path
    rows: tuple[int, ...]
    seconds: float
    minutes: float
    stops: int
    sockets: int
    cores: tuple[int, int]
    at: Path | None
    allow_ungated: bool
    as_json: bool
