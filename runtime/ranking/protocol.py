"""Score features under a protocol, which says which gallery images are ranked for a query. Reads no files and runs no model.

Images of unknown people (pid -1) are removed first, so that re-ranking does not use them as neighbours. Images of the query's person
from the query's camera can be neighbours in the re-ranking. Afterwards the rule REMOVE removes them from the ranking of this query,
and the rule KEEP ranks them like all others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.datasets import SAME_CAMERA_STAYS
from runtime.errors import DataError
from runtime.features import Features, select_rows
from runtime.options.choices import KEEP, REMOVE
from runtime.ranking import metrics
from runtime.ranking.metrics import Metrics, Scored
from runtime.ranking.rerank import rerank


def published_rule(layout: str | None) -> str:
    """Return the rule, REMOVE or KEEP, that a data set's published protocol has for same-camera images.

    These are gallery images that show the query's person in the query's camera. `layout` is the layout of the data set; for None and
    for a data set without a published protocol, the rule is REMOVE.
    """
    return KEEP if layout in SAME_CAMERA_STAYS else REMOVE


def protocol_text(rule: str, layout: str | None) -> str:
    """Return "published" if `rule`, REMOVE or KEEP, equals `published_rule(layout)`; else a text that says that it does not.

    An example of this text is "not the published protocol (same-camera images: keep)".
    """
    if rule == published_rule(layout):
        return "published"
    return f"not the published protocol (same-camera images: {rule})"


def known(features: Features) -> Features:
    """Return the features without the images of unknown people (pid -1). `skipped` and `notes` are unchanged."""
    if (keep := features.pids >= 0).all():
        return features
    return select_rows(features, np.flatnonzero(keep))


def score(
    query: Features,
    gallery: Features,
    *,
    same_camera: str = REMOVE,
    reranked: bool = False,
    watch: Callable[[Scored], None] = lambda scored: None,
) -> Metrics:
    """Rank `gallery` for every query and return the scores, after k-reciprocal re-ranking if `reranked`.

    `same_camera` is REMOVE or KEEP. `watch` is called with the scored ranking of every query that has a match. The row numbers in this
    ranking are those in `known(query)` and `known(gallery)`, which lack the images of unknown people. Raises DataError if all people
    of the query or of the gallery are unknown, or if no query has a match.
    """
    query, gallery = known(query), known(gallery)
    for name, side in (("query", query), ("gallery", gallery)):
        if not len(side.paths):
            raise DataError(
                f"{name}: no image whose person is known; name the images as in a published data set, or extract a list "
                "with lines of path pid camid"
            )
    _check_matches(query, gallery, same_camera)
    # With an unknown camera (-1), no image is removed for a query.
    camids = np.full_like(query.camids, -1) if same_camera == KEEP else query.camids
    ranker = rerank if reranked else metrics.cosine_rows
    rows = ranker(query.features, gallery.features)
    return metrics.evaluate_distances(rows, query.pids, camids, gallery.pids, gallery.camids, watch=watch)


def leaks(query: Features, gallery: Features, *, same_camera: str = REMOVE) -> int:
    """Return the number of queries for which an exact copy of the query's file is ranked as a gallery image (equal sha256).

    A copy is not counted if the rule REMOVE leaves it out of the ranking, because it has the same person and the same known camera.
    Occluded-Duke has 1,870 such copies by design.
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
    """Raise a DataError if no query has a match; it says which option would help."""
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery.pids.tolist(), gallery.camids.tolist()):
        cameras.setdefault(pid, set()).add(camid)
    queries = [(pid, camid) for pid, camid in zip(query.pids.tolist(), query.camids.tolist()) if pid > 0]
    matched = [(camid, cameras[pid]) for pid, camid in queries if pid in cameras]
    if not matched:
        raise DataError(
            f"none of {len(query.paths)} queries has a match: no person of the query is in the gallery; check that both come "
            "from one data set, and that the layout is right"
        )
    if same_camera == REMOVE and all(
        camid != -1 and not gallery_camids - {camid} for camid, gallery_camids in matched
    ):
        raise DataError(
            f"none of {len(query.paths)} queries has a match from another camera; check file names and the layout, or for a "
            "data set of one camera give same_camera='keep' (--same-camera keep), which is not the published protocol"
        )
