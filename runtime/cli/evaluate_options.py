"""The frozen options of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.cli.arguments import (
    DataOptions,
    RunOptions,
)
from runtime.cli.picture_options import PictureOptions


@dataclass(frozen=True)
class ScoreOptions:
    """How to score and print rankings. A `same_camera` of None follows the published protocol."""

    rerank: bool
    same_camera: str | None
    picture: PictureOptions | None
    as_json: bool


@dataclass(frozen=True)
class ModelEvaluation:
    """The options to evaluate an opened model on a data set."""

    data: DataOptions
    run_options: RunOptions
    score: ScoreOptions


@dataclass(frozen=True)
class FileEvaluation:
    """The options to evaluate two feature files."""

    query: str
    gallery: str
    allow_partial: bool
    score: ScoreOptions
