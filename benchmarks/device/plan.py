"""The parts of `bench.py --device jetson`, each as long as its window is. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.agenda import Agenda, Part

IDLE = "idle power"
# Starting trtexec and loading an engine, twice for each number of persons.
TRTEXEC_S = 8.0


@dataclass(frozen=True)
class Windows:
    """Seconds of a scenario's window and of the shortest one; `idle`: whether the idle power is measured first."""

    scene_s: float
    least_s: float
    idle: bool


def scene_of(title: str, count: int) -> str:
    """The name of the part that times one scenario of the model."""
    return f"{title}: {count} images a call"


def gallery_of(title: str) -> str:
    """The name of the part that extracts the whole gallery."""
    return f"{title}: whole gallery"


def accuracy_of(title: str) -> str:
    """The name of the part that scores the model."""
    return f"{title}: accuracy"


def trtexec_of(title: str) -> str:
    """The name of the part that runs trtexec on the model."""
    return f"{title}: trtexec"


def agenda_of(
    titles: Sequence[str], persons: Sequence[int], windows: Windows, *, gallery: int, scored: bool
) -> Agenda:
    """Every part of the run in its order, for models with these titles; `gallery` images (0: none) are extracted and `scored`."""
    parts = [Part(IDLE, windows.least_s)] if windows.idle else []
    for title in dict.fromkeys(titles):
        parts += [Part(scene_of(title, count), windows.scene_s) for count in persons]
        parts += [Part(gallery_of(title), windows.least_s)] if gallery else []
        parts += [Part(accuracy_of(title), windows.least_s)] if scored else []
        parts.append(Part(trtexec_of(title), 2 * len(persons) * (TRTEXEC_S + windows.scene_s)))
    return Agenda(
        parts, basis="the windows that were asked for, which a slow engine or a large gallery outlasts"
    )
