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
    """How to score rankings and print the scores.

    `rerank` applies k-reciprocal re-ranking. `same_camera` is the rule for gallery images that show the query's person and come from
    the query's camera: "remove" leaves them out of the ranking of this query, and "keep" ranks them. None takes the rule of the data
    set's published protocol. `picture` describes the HTML page of the worst queries; None writes no page. `as_json` prints one JSON
    document instead of a table.
    """

    rerank: bool
    same_camera: str | None
    picture: PictureOptions | None
    as_json: bool


@dataclass(frozen=True)
class ModelEvaluation:
    """The options to evaluate a model on the data set `data`.

    `run_options` say how to extract the features, and `score` says how to score them and print the scores.
    """

    data: DataOptions
    run_options: RunOptions
    score: ScoreOptions


@dataclass(frozen=True)
class FileEvaluation:
    """The options to evaluate saved features: the paths of the query and gallery files, and how to score them.

    `allow_partial` accepts the features of a stopped extraction.
    """

    query: str
    gallery: str
    allow_partial: bool
    score: ScoreOptions
