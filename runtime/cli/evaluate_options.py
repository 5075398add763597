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
    """How rankings are scored and shown. `same_camera` None follows the published protocol."""

    rerank: bool
    same_camera: str | None
    picture: PictureOptions | None
    as_json: bool


@dataclass(frozen=True)
class ModelEvaluation:
    """An opened model is scored on a data set."""

    data: DataOptions
    run_options: RunOptions
    score: ScoreOptions


@dataclass(frozen=True)
class FileEvaluation:
    """Two feature files are scored."""

    query: str
    gallery: str
    allow_partial: bool
    score: ScoreOptions
