"""Keep track of the parts of a measurement: which are done, which are missing, and how long the missing parts will take.

A part is a step with a name and an expected duration, such as timing all models at batch size 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.console import note
from runtime.host import stopwatch


@dataclass(frozen=True)
class Part:
    """One step of a measurement: its `name`, which no other part has, and the `seconds` that it is expected to take."""

    name: str
    seconds: float


class Agenda:
    """All parts of a measurement, in order, and which of them are done. It prints the expected remaining time to stderr."""

    def __init__(self, parts: Sequence[Part], *, basis: str) -> None:
        """Take the parts in the order in which they will run. `basis` says how their times were estimated, as in "two calls"."""
        self.parts = {part.name: part for part in parts}
        self.basis = basis
        self.done: list[str] = []

    @property
    def missing(self) -> list[str]:
        """Return the names of the parts that are not done, in the order in which they run."""
        return [name for name in self.parts if name not in self.done]

    @property
    def rest_s(self) -> float:
        """Return the seconds that all missing parts together are expected to take."""
        return sum(self.parts[name].seconds for name in self.missing)

    def announce(self) -> None:
        """Print to stderr how long the whole measurement is expected to take, and how this was estimated: the text `self.basis`."""
        note(
            f"the measurement has {len(self.parts)} parts and will take about {in_words(self.rest_s)}. This estimate comes from "
            f"{self.basis}. Other work on this machine makes the run longer. Ctrl-C or SIGTERM stops the run and prints the results "
            "of the complete parts"
        )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Return a context manager that runs the part `name`: the `with` block.

        The part is announced on stderr before the block. It is marked as done if the block ends without an exception.
        """
        note(f"[{len(self.done) + 1}/{len(self.parts)}] {name}; about {in_words(self.rest_s)} remain")
        yield
        self.done.append(name)


def timing_s(call_s: float, *, rounds: int | None, seconds: float) -> float:
    """Return the seconds that `runtime.host.stopwatch.interleave` will spend on one model, including the warm-up.

    One call takes `call_s` seconds. The model is called `rounds` times, or for about `seconds` seconds if `rounds` is None.
    """
    warmup = max(stopwatch.WARMUP_S, call_s)
    return warmup + (rounds * call_s if rounds is not None else max(seconds, stopwatch.MIN_ROUNDS * call_s))


def in_words(seconds: float) -> str:
    """Return a duration in the largest fitting unit, such as `40 s`, `5 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
