"""The protocol of an evaluation: which images are ranked for a query. Reads no files and runs no model.

Images of unknown people (pid -1) are removed first, so that re-ranking does not use them as neighbours. Images of the query's person
from the query's camera may be neighbours; they are removed from the ranking of that query afterwards, or ranked like all others with
`KEEP`.
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
    """Return what the published protocol of this layout does with images of the query's person and camera: REMOVE or KEEP."""
    return KEEP if layout in SAME_CAMERA_STAYS else REMOVE


def protocol_text(rule: str, layout: str | None) -> str:
    """Return the note beside the scores that says whether they follow the published protocol."""
    if rule == published_rule(layout):
        return "published"
    return f"not the published protocol (same-camera images: {rule})"


def known(features: Features) -> Features:
    """Return the features of images whose person is known (pid 0 or more); `skipped` and `notes` stay."""
    if (keep := features.pids >= 0).all():
        return features
    rows = np.flatnonzero(keep).tolist()
    return replace(
        features,
        features=features.features[keep],
        paths=tuple(features.paths[row] for row in rows),
        pids=features.pids[keep],
        camids=features.camids[keep],
        images=tuple(features.images[row] for row in rows) if features.images else (),
    )


def score(
    query: Features,
    gallery: Features,
    *,
    same_camera: str = REMOVE,
    reranked: bool = False,
    watch: Callable[[Scored], None] = lambda scored: None,
) -> Metrics:
    """Return the scores of `query` in `gallery`, with k-reciprocal re-ranking if `reranked`.

    `watch` is called with every query that has a match; its number is its row among the `known` features.
    DataError where no person is known, or no query has a match.
    """
    query, gallery = known(query), known(gallery)
    for name, side in (("query", query), ("gallery", gallery)):
        if not len(side.paths):
            raise DataError(
                f"{name}: no image whose person is known; name the images as in a published data set, or extract a list "
                "with lines of path pid camid"
            )
    _check_matches(query, gallery, same_camera)
    # A query of an unknown camera has no image removed.
    camids = np.full_like(query.camids, -1) if same_camera == KEEP else query.camids
    ranker = rerank if reranked else metrics.cosine_rows
    rows = ranker(query.features, gallery.features)
    return metrics.evaluate_distances(rows, query.pids, camids, gallery.pids, gallery.camids, watch=watch)


def leaks(query: Features, gallery: Features, *, same_camera: str = REMOVE) -> int:
    """Count the queries of which an identical file (by its hash) is ranked in the gallery.

    The same-camera rule removes a copy with the query's own person and camera; Occluded-Duke has 1,870 of these by design. With
    `KEEP`, or where the camera is unknown, such a copy counts.
    """
    gallery_ids: dict[str, set[tuple[int, int]]] = {}
    for digest, pid, camid in zip(gallery.images, gallery.pids.tolist(), gallery.camids.tolist()):
        gallery_ids.setdefault(digest, set()).add((pid, camid))
    queries = zip(query.images, query.pids.tolist(), query.camids.tolist())
    return sum(
        bool(
            gallery_ids.get(digest, set())
            - ({(pid, camid)} if same_camera == REMOVE and camid != -1 else set())
        )
        for digest, pid, camid in queries
    )


def _check_matches(query: Features, gallery: Features, same_camera: str) -> None:
    """Raise a DataError that says which option would help where no query has a match."""
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery.pids.tolist(), gallery.camids.tolist()):
        cameras.setdefault(pid, set()).add(camid)
    queries = [(pid, camid) for pid, camid in zip(query.pids.tolist(), query.camids.tolist()) if pid > 0]
    matched = [(camid, cameras[pid]) for pid, camid in queries if pid in cameras]
    if not matched:
        raise DataError(
            f"none of {len(query.paths)} queries has a match: no person of the query is in the gallery; check that both come "
            "from one data set, and the layout"
        )
    if same_camera == REMOVE and all(
        camid != -1 and not gallery_camids - {camid} for camid, gallery_camids in matched
    ):
        raise DataError(
            f"none of {len(query.paths)} queries has a match from another camera; check file names and the layout, or for a "
            "data set of one camera give same_camera='keep' (--same-camera keep), which is not the published protocol"
        )
