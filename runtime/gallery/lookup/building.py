"""Build the index of a gallery: codes for every row, kept only if the search with them finds what the exact search finds."""

from __future__ import annotations

from functools import partial

from runtime.errors import DataError, GateError
from runtime.gallery.lookup.exact import Shift
from runtime.gallery.lookup.indexed import CodeCache
from runtime.gallery.lookup.recall import TOP, Recall, measure_recall
from runtime.gallery.lookup.searching import rank_exactly
from runtime.gallery.lookup.shifting import Move
from runtime.gallery.lookup.snapshot import ALL, Snapshot
from runtime.gallery.store import files
from runtime.gallery.store.store import Store


def build_index(
    store: Store,
    snapshot: Snapshot,
    cache: CodeCache,
    *,
    least: float,
    calibrated: tuple[Shift | None, Move],
) -> Recall:
    """Make the codes that are missing, measure the recall of the search with codes, and write their files.

    `calibrated` applies the site calibration in the searches that are compared, as `ShiftCache.of` returns it.

    Raises DataError for a gallery without rows, and GateError for a recall below `least`; then all codes are removed.
    """
    if not len(snapshot.ids):
        raise DataError(f"{store.folder}: the gallery is empty; add images first")
    segments = store.segments(snapshot.state.generation)
    cache.refresh(snapshot, segments)
    made = cache.encode(snapshot, segments)
    shift, move = calibrated
    exact, indexed = (
        partial(rank, snapshot, filters=ALL, top=TOP + 1, segment_rows=store.segment_rows, shift=shift)
        for rank in (rank_exactly, cache.rank)
    )
    recall = measure_recall(store, snapshot, exact, indexed, move)
    with store.writing():
        if store.state() != snapshot.state:
            raise DataError(
                f"{store.folder}: was changed while its index was built; run the same command again"
            )
        if recall.recall < least:
            for number in cache.loaded:
                files.remove(segments.codes_path(number))
            cache.loaded.clear()
            raise GateError(
                f"{store.folder}: the index finds {recall.recall:.4f} of the {recall.hits} hits of the same {recall.judged}, but "
                f"{least} are required; search without the index, or lower `recall` (--recall)"
            )
        cache.write(made, segments)
    return recall
