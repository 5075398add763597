"""List the parts of `bench.py --device jetson`, and estimate how long each takes. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.agenda import Agenda, Part

IDLE = "idle power"
# The time to start trtexec and load an engine, which happens twice for each number of persons.
TRTEXEC_S = 8.0


@dataclass(frozen=True)
class Windows:
    """How long the measurements of a run last.

    Timing a model at one batch size takes `scenario_s` seconds, and any other measurement takes at least `least_s` seconds. `idle`
    says whether the power of the idle board is measured first.
    """

    scenario_s: float
    least_s: float
    idle: bool


def scenario_of(title: str, count: int) -> str:
    """Return the name of the part of a run in which the model `title` is timed on calls with `count` images."""
    return f"{title}: {count} images a call"


def gallery_of(title: str) -> str:
    """Return the name of the part of a run in which the model `title` extracts the features of the whole gallery."""
    return f"{title}: whole gallery"


def accuracy_of(title: str) -> str:
    """Return the name of the part of a run in which the accuracy of the model `title` is measured."""
    return f"{title}: accuracy"


def trtexec_of(title: str) -> str:
    """Return the name of the part of a run in which trtexec times the model `title`."""
    return f"{title}: trtexec"


def agenda_of(
    titles: Sequence[str], persons: Sequence[int], windows: Windows, *, gallery: int, scored: bool
) -> Agenda:
    """Return the `benchmarks.agenda.Agenda` of the run: the name and the expected duration of each of its parts, in order.

    `titles` are the paths of the models, and `persons` are the batch sizes. `windows` has the durations of the measurements. `gallery`
    is the number of images in the gallery to extract, or 0 for none. `scored` says whether the accuracy is measured.
    """
    parts = [Part(IDLE, windows.least_s)] if windows.idle else []
    for title in dict.fromkeys(titles):
        parts += [Part(scenario_of(title, count), windows.scenario_s) for count in persons]
        parts += [Part(gallery_of(title), windows.least_s)] if gallery else []
        parts += [Part(accuracy_of(title), windows.least_s)] if scored else []
        parts.append(Part(trtexec_of(title), 2 * len(persons) * (TRTEXEC_S + windows.scenario_s)))
    return Agenda(
        parts, basis="the requested measuring times (a slow engine or a large gallery takes longer)"
    )
