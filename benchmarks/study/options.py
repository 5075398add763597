"""The options of a run of the study. This module imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StudyOptions:
    """The files, data sets and device of a study, which each of its processes receives.

    `weights` is the path of the teacher, `config` that of the configuration, and `overrides` are changes of it, `section.key=value`.
    `data` is the folder of Anny-ReID, and `others` are the folders of further data sets on which models are scored. `out` is the
    folder of the results. `device` is "auto", "cpu" or "cuda".
    """

    weights: str
    config: str
    data: str
    out: str
    others: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
