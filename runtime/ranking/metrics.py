"""Rank a gallery for every query and score the rankings. Works on arrays and imports no image code.

The rules are those of Market-1501. Gallery images of the query's person from the query's camera are removed, and so is junk (gallery
pid -1). Distractors (pid 0) stay and match nobody. Images at equal distances stay in the gallery's order. Queries without a match are
counted but not scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import ArtifactError, DataError

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

# How far the norm of a feature may be from 1. After normalisation in float32 it is within 1e-6, without normalisation far away.
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Metrics:
    """The scores of an evaluation; each score is a mean over the queries that have a match, in 0..1.

    `mAP` is the mean average precision that papers report. `mAP_market_matlab` computes it with the trapezoid rule of Market-1501's
    MATLAB code. `cmc` (max_rank,) float64 is the fraction of queries with a match among the first 1, 2, ... images. `mINP` is the mean
    of (number of matches / rank of the last match). `queries` counts all queries, and `queries_without_match` those that are not
    scored. `ties` counts the matches that have the same distance as an image that is no match. Such images are ranked in the gallery's
    order, so the scores depend on it.
    """

    mAP: float
    cmc: NDArray[np.float64]
    mINP: float
    mAP_market_matlab: float
    queries: int
    queries_without_match: int
    ties: int

    def to_json(self) -> dict[str, Any]:
        """Return {mAP, R1, R5, R10, mINP, mAP_market_matlab, queries, queries_without_match, ties}."""
        ranks = {f"R{rank}": float(self.cmc[min(rank, len(self.cmc)) - 1]) for rank in (1, 5, 10)}
        return {
            "mAP": self.mAP,
            **ranks,
            "mINP": self.mINP,
            "mAP_market_matlab": self.mAP_market_matlab,
            "queries": self.queries,
            "queries_without_match": self.queries_without_match,
            "ties": self.ties,
        }


@dataclass(frozen=True)
class Scored:
    """The scored ranking of one query that has a match; `query` is its row in the query features.

    `distances` (G,) are those to the gallery images, and must not be changed. `matches` are the gallery indices of the images of the
    query's person, ascending. `removed` are the gallery indices of the images that were left out of the ranking. `ranks` are the
    1-based ranks of the matches, ascending. `precision` is the average precision of the query (`step_precision`).
    """

    query: int
    distances: Floats
    matches: Ids
    removed: Ids
    ranks: Ids
    precision: float


def evaluate(
    query: ArrayLike,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 50,
    block: int = 256,
) -> Metrics:
    """Return the scores of ranking the gallery for every query by cosine distance.

    `query` (Q, D) and `gallery` (G, D) are float32 and L2-normalised; their pids and camids are integers (Q,) and (G,). For a query
    whose camera is unknown (camid -1), no image of the same camera is removed. `max_rank` is the length of the CMC curve. `block`
    queries are compared at a time, so that memory holds block x G distances. Raises DataError for a feature that is not finite, and if
    no query has a match, and ArtifactError for shapes that do not fit and for features that are not normalised.
    """
    rows = cosine_rows(query, gallery, block=block)
    return evaluate_distances(rows, query_pids, query_camids, gallery_pids, gallery_camids, max_rank=max_rank)


def cosine_rows(query: ArrayLike, gallery: ArrayLike, *, block: int = 256) -> Iterator[Floats]:
    """Yield the negative cosines between queries and gallery as blocks (b, G), each for the next b <= `block` queries.

    `query` (Q, D) and `gallery` (G, D) are L2-normalised. Raises the errors of `checked_features` at once, before the first block.
    """
    queries, galleries = checked_features(query, gallery, block=block)
    # 1 - cosine would lose the last bits of small similarities, and the order is the same without the 1.
    return (-(queries[start : start + block] @ galleries.T) for start in range(0, len(queries), block))


def evaluate_distances(
    distance_rows: Iterable[ArrayLike],
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 50,
    watch: Callable[[Scored], None] = lambda scored: None,
) -> Metrics:
    """Return the scores of ranking the gallery for every query by the given distances; a smaller distance is nearer.

    `distance_rows` are blocks (b, G), each for the next b queries, Q in all; they are not changed. The pids and camids are integers
    (Q,) and (G,). `max_rank` is the length of the CMC curve. `watch` is called with the scored ranking of every query that has a
    match. Raises DataError for a distance that is not finite, and if no query has a match, and ArtifactError for shapes that do not
    fit.
    """
    pids, camids = _ids(query_pids, query_camids, "query")
    matches_and_removed = _gallery_rules(*_ids(gallery_pids, gallery_camids, "gallery"))
    scores: list[tuple[float, float, float, int]] = []
    ties = 0
    for number, row in _rows(distance_rows, len(pids), np.size(gallery_pids)):
        matches, removed = matches_and_removed(int(pids[number]), int(camids[number]))
        if len(matches):
            ranks, tied = match_ranks(row, matches, removed)
            inverse_penalty = len(ranks) / int(ranks[-1])
            precision = step_precision(ranks)
            scores.append((precision, trapezoid_precision(ranks), inverse_penalty, int(ranks[0])))
            ties += tied
            watch(Scored(number, row, matches, removed, ranks, precision))
    if not scores:
        raise DataError(
            f"none of {len(pids)} queries has a match from another camera; check file names and the layout"
        )
    steps, trapezoids, inverse_penalties, firsts = (np.array(column) for column in zip(*scores))
    hits = np.bincount(firsts[firsts <= max_rank] - 1, minlength=max_rank)
    return Metrics(
        mAP=float(steps.mean()),
        cmc=np.cumsum(hits) / len(scores),
        mINP=float(inverse_penalties.mean()),
        mAP_market_matlab=float(trapezoids.mean()),
        queries=len(pids),
        queries_without_match=len(pids) - len(scores),
        ties=ties,
    )


def match_ranks(distances: ArrayLike, matches: Ids, removed: Ids) -> tuple[Ids, int]:
    """Return the 1-based ranks of a query's matches, ascending, and the number of matches that are tied.

    `distances` (G,) are those of the query to the gallery. `matches` are the gallery indices of its matches, ascending and not empty.
    `removed` are the gallery indices of images that have no rank. Equal distances are ranked by gallery index. A match is tied if an
    image that is no match has the same distance.
    """
    row = np.array(distances, np.result_type(np.float32, np.asarray(distances)))
    row[removed] = np.inf
    match_distances = row[matches]
    # Images beyond the last match cannot change the rank of any match, so only the nearer ones are sorted.
    near = np.sort(row[row <= match_distances.max()])
    first = np.searchsorted(near, match_distances, side="left")
    equal_count = np.searchsorted(near, match_distances, side="right") - first
    ranks, tied = first + 1, 0
    if equal_count.max() > 1:
        for value in np.unique(match_distances[equal_count > 1]):
            of_value = np.flatnonzero(match_distances == value)
            equal = np.flatnonzero(row == value)
            ranks[of_value] += np.searchsorted(equal, matches[of_value])
            tied += len(of_value) if len(equal) > len(of_value) else 0
    return np.sort(ranks), tied


def step_precision(ranks: Ids) -> float:
    """Return the average precision of one query from the ascending 1-based ranks of its matches: the mean of i / rank_i."""
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def trapezoid_precision(ranks: Ids) -> float:
    """Return the average precision of one query as Market-1501's compute_AP.m computes it, from the 1-based ranks of its matches.

    The value of a match with rank r is the mean of two precisions: that at rank r and that at rank r - 1. At rank 0 the precision
    counts as 1. The result is the mean of these values over the matches.
    """
    match_count = np.arange(1, len(ranks) + 1)
    before = np.where(ranks > 1, (match_count - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float(np.mean((match_count / ranks + before) / 2))


def checked_features(query: ArrayLike, gallery: ArrayLike, *, block: int = 256) -> tuple[Floats, Floats]:
    """Return query and gallery features as float32 (Q, D) and (G, D).

    Raises DataError if the query or the gallery is empty, or if a feature is not finite. Raises ArtifactError for other shapes, if
    the two widths D differ, or if the norm of a feature is not 1. `block` rows are checked at a time.
    """
    queries, galleries = np.asarray(query, np.float32), np.asarray(gallery, np.float32)
    for name, features in (("query", queries), ("gallery", galleries)):
        if features.ndim != 2:
            raise ArtifactError(
                f"{name} features have shape {features.shape}, expected (N, D); extract them again"
            )
        if not len(features):
            raise DataError(f"the {name} features are empty; extract some images first")
        for start in range(0, len(features), block):
            _check_rows(name, features[start : start + block], start)
    if queries.shape[1] != galleries.shape[1]:
        raise ArtifactError(
            f"query features have {queries.shape[1]} values, gallery features {galleries.shape[1]}; "
            "extract both with the same model"
        )
    return queries, galleries


def _check_rows(name: str, rows: Floats, start: int) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    if np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):
        return
    if len(bad := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
        raise DataError(f"{name} feature {start + bad[0]} is not finite; extract it again")
    worst = int(np.argmax(np.abs(norms - 1)))
    raise ArtifactError(
        f"{name} feature {start + worst} has norm {norms[worst]:.4g}, not 1; extract the features again, L2-normalised"
    )


def _ids(pids: ArrayLike, camids: ArrayLike, name: str) -> tuple[Ids, Ids]:
    people, cameras = np.asarray(pids, np.int64), np.asarray(camids, np.int64)
    if people.ndim != 1 or people.shape != cameras.shape:
        raise ArtifactError(
            f"{name} has pids {people.shape} and camids {cameras.shape}; give one pid and one camid for each image"
        )
    return people, cameras


def _gallery_rules(pids: Ids, camids: Ids) -> Callable[[int, int], tuple[Ids, Ids]]:
    """Return a function (pid, camid of a query) -> (gallery indices of its matches, gallery indices of the images to remove)."""
    order = np.argsort(pids, kind="stable")
    ordered = pids[order]
    junk = np.flatnonzero(pids == -1)

    def matches_and_removed(pid: int, camid: int) -> tuple[Ids, Ids]:
        if pid <= 0:
            return np.empty(0, np.int64), junk
        same = order[np.searchsorted(ordered, pid, "left") : np.searchsorted(ordered, pid, "right")]
        same_camera = (camids[same] == camid) & (camid != -1)
        return same[~same_camera], np.concatenate([junk, same[same_camera]])

    return matches_and_removed


def _rows(blocks: Iterable[ArrayLike], queries: int, gallery: int) -> Iterator[tuple[int, Floats]]:
    """Yield (row of a query, its distances (G,)) from the blocks; raise an error for wrong shapes or distances that are not finite."""
    number = 0
    for block in blocks:
        rows = np.asarray(block)
        if rows.ndim != 2 or rows.shape[1] != gallery or number + len(rows) > queries:
            raise ArtifactError(
                f"the block of distances from query {number} on has shape {rows.shape}; give blocks that are "
                f"{queries} x {gallery} (queries x gallery images) together"
            )
        if not np.isfinite(rows).all():
            bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise DataError(f"a distance of query {number + bad} is not finite; extract its features again")
        for row in rows:
            yield number, row
            number += 1
    if number != queries:
        raise ArtifactError(
            f"there are distances for {number} queries, but pids for {queries}; give equal numbers"
        )
