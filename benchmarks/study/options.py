"""The options of a run of the study. This module imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyOptions:
    """The options of a study run in a form that a worker process can receive: paths, `--set` overrides and the device."""

    weights: str
    config: str
    data: str
    out: str
    others: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
