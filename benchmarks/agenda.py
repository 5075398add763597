"""The parts of a measurement: how long they will take, which are done, which are missing. Measures nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.console import note
from runtime.host import stopwatch


@dataclass(frozen=True)
class Part:
    """One part of a measurement, by a name of its own; `seconds` is what it is expected to take."""

    name: str
    seconds: float


class Agenda:
    """The parts still to come and those that are done; says on stderr how long the rest will take before each part."""

    def __init__(
        self, parts: Sequence[Part], *, basis: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`basis` says what the estimate rests on."""
        self.parts = {part.name: part for part in parts}
        self.basis = basis
        self.done: list[str] = []
        self._clock = clock

    @property
    def missing(self) -> list[str]:
        """Names of the parts that are not done, in their order."""
        return [name for name in self.parts if name not in self.done]

    @property
    def rest_s(self) -> float:
        """The seconds that the missing parts are expected to take."""
        return sum(self.parts[name].seconds for name in self.missing)

    def announce(self) -> None:
        """Say how long all of it will take, and how sure that is."""
        note(
            f"{len(self.parts)} parts, about {in_words(self.rest_s)} in all; this is an estimate from {self.basis}, and other "
            "work on this machine makes it longer. Ctrl-C or SIGTERM prints what is complete"
        )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Do the part of that name; it is done when the block ends well."""
        note(f"[{len(self.done) + 1}/{len(self.parts)}] {name}; about {in_words(self.rest_s)} to go")
        yield
        self.done.append(name)


def timing_s(call_s: float, *, rounds: int | None, seconds: float) -> float:
    """What `stopwatch.interleave` takes for one of its calls, warm-up included."""
    warmup = max(stopwatch.WARMUP_S, call_s)
    return warmup + (rounds * call_s if rounds is not None else max(seconds, stopwatch.MIN_ROUNDS * call_s))


def in_words(seconds: float) -> str:
    """`40 s`, `5 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
