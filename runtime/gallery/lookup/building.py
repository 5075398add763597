"""Build the index of a gallery: codes for every row, kept only if the search with them finds what the exact search finds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, GateError
from runtime.gallery.lookup.exact import SiteCorrection
from runtime.gallery.lookup.filters import ALL
from runtime.gallery.lookup.indexed import CodeCache
from runtime.gallery.lookup.recall import TOP, Recall, measure_recall
from runtime.gallery.lookup.searching import Ranked, Ranking, rank_exactly
from runtime.gallery.lookup.snapshot import Snapshot
from runtime.gallery.store import files
from runtime.gallery.store.listing import list_labels
from runtime.gallery.store.store import Store
from runtime.ranking.site import SiteMeans


def build_index(
    store: Store,
    snapshot: Snapshot,
    cache: CodeCache,
    *,
    least: float,
    site: SiteMeans | None,
    correction: SiteCorrection | None,
) -> Recall:
    """Make the codes that are missing, measure the recall of the search with codes, and write their files.

    `site` is the site calibration of the searches that are compared, and `correction` what it means for the rows; None for none.

    Raises DataError for a gallery without rows, and GateError for a recall below `least`; then the files of all codes are removed.
    The codes in `cache` are those of the files only if nothing is raised.
    """
    if not len(snapshot.ids):
        raise DataError(f"{store.folder}: the gallery is empty; add images first")
    segments = store.segments(snapshot.state.generation)
    cache.refresh(snapshot, segments)
    made = cache.encode(snapshot)
    how = Ranking(ALL, TOP + 1, correction)
    # rows that were added meanwhile are in no ranking
    known = set(snapshot.ids.tolist())
    labels = [one for one in list_labels(store) if one[0] in known]

    def read(ids: list[int]) -> NDArray[np.float32]:
        return snapshot.features(np.searchsorted(snapshot.ids, ids))

    def by_id(rank: Callable[..., Ranked], query: NDArray[np.float32]) -> list[list[int]]:
        return [
            [int(number) for number in row] for row in snapshot.ids[rank(snapshot, query, how=how).places]
        ]

    exact, indexed = (partial(by_id, rank) for rank in (rank_exactly, cache.rank))
    recall = measure_recall(labels, read, exact, indexed, site)
    with store.writing():
        if store.state() != snapshot.state:
            raise DataError(
                f"{store.folder}: was changed while its index was built; run the same command again"
            )
        if recall.recall < least:
            for number in cache.loaded:
                files.remove(segments.codes_path(number))
            raise GateError(
                f"{store.folder}: the index finds {recall.recall:.4f} of the {recall.hits} hits of the same {recall.judged}, but "
                f"{least} are required; search without the index, or lower `recall` (--recall)"
            )
        cache.write(made, segments)
    return recall
