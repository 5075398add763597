"""The protocol of an evaluation: which images are ranked for a query, and which leave before. Knows no files and no engine.

Images of nobody known (pid -1) leave first, so that they are in no neighbourhood that re-ranking looks at. Images of the
query's person from the query's camera stay in the neighbourhoods and are masked for that query afterwards, or with `KEEP`
ranked like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from runtime.datasets import SAME_CAMERA_STAYS
from runtime.errors import DataError
from runtime.features import Features
from runtime.options.choices import KEEP, REMOVE
from runtime.ranking import metrics
from runtime.ranking.metrics import Metrics, Scored
from runtime.ranking.rerank import rerank


def published_rule(layout: str | None) -> str:
    """What the published protocol of this layout does with images of the query's camera."""
    return KEEP if layout in SAME_CAMERA_STAYS else REMOVE


def protocol_text(rule: str, layout: str | None) -> str:
    """What stands beside the scores: whether they follow the published protocol."""
    if rule == published_rule(layout):
        return "published"
    return f"not the published protocol (same-camera images: {rule})"


def known(features: Features) -> Features:
    """The features of images whose person is known (pid 0 or more); `skipped` and `notes` stay."""
    if (keep := features.pids >= 0).all():
        return features
    places = np.flatnonzero(keep).tolist()
    return replace(
        features,
        features=features.features[keep],
        paths=tuple(features.paths[place] for place in places),
        pids=features.pids[keep],
        camids=features.camids[keep],
        images=tuple(features.images[place] for place in places) if features.images else (),
    )


def score(
    query: Features,
    gallery: Features,
    *,
    same_camera: str = REMOVE,
    reranked: bool = False,
    watch: Callable[[Scored], None] = lambda scored: None,
) -> Metrics:
    """The scores of `query` in `gallery`, with k-reciprocal re-ranking if `reranked`.

    `watch` is shown every query that has a match, by its place among the `known` features.
    DataError where nobody is known, or no query has a match.
    """
    query, gallery = known(query), known(gallery)
    for name, side in (("query", query), ("gallery", gallery)):
        if not len(side.paths):
            raise DataError(
                f"{name}: no image whose person is known; name the images as a published data set does, or extract a list "
                "of lines: path pid camid"
            )
    _check_matches(query, gallery, same_camera)
    # A query of an unknown camera has no image removed.
    camids = np.full_like(query.camids, -1) if same_camera == KEEP else query.camids
    ranker = rerank if reranked else metrics.cosine_rows
    rows = ranker(query.features, gallery.features)
    return metrics.evaluate_distances(rows, query.pids, camids, gallery.pids, gallery.camids, watch=watch)


def leaks(query: Features, gallery: Features, *, same_camera: str = REMOVE) -> int:
    """How many queries lie byte for byte in the gallery where the protocol does not drop them.

    A copy with the query's own person and camera is dropped with the same-camera rule: Occluded-Duke has 1,870 such by
    design. With `KEEP`, or where the camera is unknown, it is not.
    """
    places: dict[str, set[tuple[int, int]]] = {}
    for digest, pid, camid in zip(gallery.images, gallery.pids.tolist(), gallery.camids.tolist()):
        places.setdefault(digest, set()).add((pid, camid))
    own = zip(query.images, query.pids.tolist(), query.camids.tolist())
    return sum(
        bool(places.get(digest, set()) - ({(pid, camid)} if same_camera == REMOVE and camid != -1 else set()))
        for digest, pid, camid in own
    )


def _check_matches(query: Features, gallery: Features, same_camera: str) -> None:
    """DataError that says which option would help, where no query has a match."""
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery.pids.tolist(), gallery.camids.tolist()):
        cameras.setdefault(pid, set()).add(camid)
    own = [(pid, camid) for pid, camid in zip(query.pids.tolist(), query.camids.tolist()) if pid > 0]
    seen = [(camid, cameras[pid]) for pid, camid in own if pid in cameras]
    if not seen:
        raise DataError(
            f"none of {len(query.paths)} queries has a match: nobody of the query is in the gallery; check that both are of "
            "one data set, and --layout"
        )
    if same_camera == REMOVE and all(camid != -1 and not theirs - {camid} for camid, theirs in seen):
        raise DataError(
            f"none of {len(query.paths)} queries has a match from another camera; check file names and --layout, or for a "
            "set of one camera: python -m runtime evaluate ... --same-camera keep (not the published protocol)"
        )
