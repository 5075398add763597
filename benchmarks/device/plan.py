"""Plan the parts of `bench.py --device jetson` and how long each takes. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.agenda import Agenda, Part

IDLE = "idle power"
# The time to start trtexec and load an engine, which happens twice for each number of persons.
TRTEXEC_S = 8.0


@dataclass(frozen=True)
class Windows:
    """The seconds of a scenario's window and of the shortest window; `idle` says whether the idle power is measured first."""

    scenario_s: float
    least_s: float
    idle: bool


def scenario_of(title: str, count: int) -> str:
    """Return the name of the part that times one scenario of the model."""
    return f"{title}: {count} images a call"


def gallery_of(title: str) -> str:
    """Return the name of the part that extracts the whole gallery."""
    return f"{title}: whole gallery"


def accuracy_of(title: str) -> str:
    """Return the name of the part that evaluates the model."""
    return f"{title}: accuracy"


def trtexec_of(title: str) -> str:
    """Return the name of the part that runs trtexec on the model."""
    return f"{title}: trtexec"


def agenda_of(
    titles: Sequence[str], persons: Sequence[int], windows: Windows, *, gallery: int, scored: bool
) -> Agenda:
    """Return every part of the run, in order, for the models with these titles.

    `gallery` is the number of images of the gallery that is extracted, 0 for none; `scored` says whether accuracy is measured.
    """
    parts = [Part(IDLE, windows.least_s)] if windows.idle else []
    for title in dict.fromkeys(titles):
        parts += [Part(scenario_of(title, count), windows.scenario_s) for count in persons]
        parts += [Part(gallery_of(title), windows.least_s)] if gallery else []
        parts += [Part(accuracy_of(title), windows.least_s)] if scored else []
        parts.append(Part(trtexec_of(title), 2 * len(persons) * (TRTEXEC_S + windows.scenario_s)))
    return Agenda(parts, basis="the requested windows; a slow engine or a large gallery takes longer")
