"""The public functions `evaluate`, which scores features with mAP and CMC, and `search`, which finds the nearest images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import ConfigError
from runtime.features import Features, same_model
from runtime.options.choices import REMOVE, SAME_CAMERA
from runtime.ranking.metrics import Metrics, Scored
from runtime.ranking.nearest import nearest_rows
from runtime.ranking.protocol import score

__all__ = ["Hit", "Metrics", "evaluate", "search"]


@dataclass(frozen=True)
class Hit:
    """One gallery image near a query image.

    `query` and `row` are the row numbers of the two images in the query and gallery features. `rank` counts from 1, and
    `distance` is the cosine distance (0..2). `path`, `pid` and `camid` are those of the gallery image (-1: unknown).
    """

    query: int
    rank: int
    row: int
    distance: float
    path: str
    pid: int
    camid: int


def evaluate(
    query: Features,
    gallery: Features,
    *,
    rerank: bool = False,
    same_camera: str = REMOVE,
    watch: Callable[[Scored], None] | None = None,
) -> Metrics:
    """Rank the gallery for every query and return the scores of the rankings: mAP, CMC and mINP (0..1).

    With `rerank`, the distances are first re-ranked with k-reciprocal encoding (k1 20, k2 6, weight 0.3). `same_camera` is the rule
    for gallery images of the query's person from the query's camera: "remove" leaves them out of the ranking, as most published
    protocols do, and "keep" ranks them like all others, which a data set of one camera needs. Images of unknown people (pid -1) are
    left out. `watch` is called with the scored ranking of every query that has a match; its distances are negative cosines, or with
    `rerank` the re-ranked distances.

    Raises ArtifactError for features of two models, DataError if no query has a match, and ConfigError for an unknown rule.
    """
    if same_camera not in SAME_CAMERA:
        raise ConfigError(f"same_camera={same_camera!r}: give {' or '.join(map(repr, SAME_CAMERA))}")
    same_model(query, gallery)
    return score(
        query, gallery, same_camera=same_camera, reranked=rerank, watch=watch or (lambda scored: None)
    )


def search(query: Features, gallery: Features, *, top: int = 10) -> list[Hit]:
    """Return the `top` nearest gallery images of each query, nearest first, as one list for all queries in their order.

    Persons and cameras are ignored, so every gallery image can be a hit. The search is exact; images at equal distances stay in
    the gallery's order.
    Raises ConfigError for a `top` below 1, ArtifactError for features of two models, DataError for an empty gallery.
    """
    if top < 1:
        raise ConfigError(f"top={top}: give 1 or more")
    same_model(query, gallery)
    indices, distances = nearest_rows(query.features, gallery.features, top=top)
    return [
        Hit(
            query=number,
            rank=rank,
            row=int(row),
            distance=float(distance),
            path=gallery.paths[row],
            pid=int(gallery.pids[row]),
            camid=int(gallery.camids[row]),
        )
        for number, pair in enumerate(zip(indices, distances))
        for rank, (row, distance) in enumerate(zip(*pair), 1)
    ]
