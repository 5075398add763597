"""Approximate search: find candidates by their codes, and rank these exactly by their features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.codes import Codes, read_codes, stamp_of, write_codes
from runtime.gallery.lookup.exact import Shift, nearest
from runtime.gallery.lookup.searching import Ranked, blocks_of
from runtime.gallery.lookup.snapshot import Filters, Snapshot
from runtime.gallery.store.segments import Segments
from runtime.ranking.nearest import nearest_indices

# Candidates in a segment for each query, at least; they are ranked exactly.
CANDIDATES = 100
# A segment is searched exactly if the filters leave fewer of its rows, or a smaller share of them: the codes know no filters.
FEW_ROWS, FEW = 4096, 0.1


@dataclass(frozen=True)
class Coverage:
    """How many of the `rows` of a gallery have codes (`coded`); the others are searched exactly."""

    rows: int
    coded: int


@dataclass
class CodeCache:
    """The codes that were loaded, by the number of their segment. A segment whose rows changed loses its codes."""

    loaded: dict[int, Codes] = field(default_factory=dict)

    def refresh(self, snapshot: Snapshot, segments: Segments) -> Coverage:
        """Drop the codes that are out of date, and load those whose files are there and fit the snapshot."""
        from runtime.gallery.lookup import faiss

        coded = 0
        numbers = np.unique(snapshot.slots // segments.rows).tolist()
        for number in [*self.loaded]:
            if number not in numbers or not fits(self.loaded[number], snapshot, segments.rows, number):
                del self.loaded[number]
        for number in numbers:
            if number not in self.loaded:
                found = read_codes(segments.codes_path(number), faiss.version())
                # the stamp is compared before faiss reads the bytes
                if found is not None and fits(Codes(*found[:2], None), snapshot, segments.rows, number):
                    self.loaded[number] = Codes(found[0], found[1], faiss.load(found[2]))
            coded += len(self.loaded[number].slots) if number in self.loaded else 0
        return Coverage(len(snapshot.ids), coded)

    def encode(self, snapshot: Snapshot, segments: Segments) -> dict[int, bytes]:
        """Make the codes of every segment whose rows do not all have some, and keep them; return them by segment."""
        from runtime.gallery.lookup import faiss

        made = {}
        for number in np.unique(snapshot.slots // segments.rows).tolist():
            first, last = span(snapshot, segments.rows, number)
            if number in self.loaded and len(self.loaded[number].slots) == last - first:
                continue
            slots = snapshot.slots[first:last]
            data = faiss.encode(snapshot.maps[number][slots - number * segments.rows])
            self.loaded[number] = Codes(stamp_of(snapshot, first, last), slots, faiss.load(data))
            made[number] = data
        return made

    def write(self, made: dict[int, bytes], segments: Segments) -> None:
        """Write the files of codes that were made."""
        from runtime.gallery.lookup import faiss

        for number, data in made.items():
            codes = self.loaded[number]
            write_codes(segments.codes_path(number), faiss.version(), codes.stamp, codes.slots, data)

    def rank(
        self,
        snapshot: Snapshot,
        query: NDArray[np.float32],
        filters: Filters,
        *,
        top: int,
        segment_rows: int,
        shift: Shift | None = None,
    ) -> Ranked:
        """Rank the rows that the filters leave: by codes where there are some, exactly elsewhere. Distances are exact."""
        from runtime.gallery.lookup import faiss

        selected = snapshot.selected(filters)
        parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        exact = np.ones(len(snapshot.ids), bool) if selected is None else selected.copy()
        for number, codes in self.loaded.items():
            first, last = span(snapshot, segment_rows, number)
            last = first + len(codes.slots)
            chosen = None if selected is None else selected[first:last]
            left = last - first if chosen is None else int(chosen.sum())
            if left < FEW_ROWS or left < FEW * (last - first):
                continue
            wide = min(int(max(CANDIDATES, 4 * top) * (last - first) / left), last - first)
            candidates = faiss.nearest(codes.index, query, wide)
            rows_of = codes.slots - number * segment_rows
            parts.append(
                _rank_candidates(
                    snapshot.maps[number], rows_of, candidates, query, (top, first, chosen, shift)
                )
            )
            exact[first:last] = False
        places, distances = nearest(blocks_of(snapshot, exact, segment_rows), query, top=top, shift=shift)
        return _joined([(places, distances), *parts], top)


def span(snapshot: Snapshot, segment_rows: int, number: int) -> tuple[int, int]:
    """Return (first, last + 1) of the rows of a segment in a snapshot."""
    first, last = np.searchsorted(snapshot.slots, [number * segment_rows, (number + 1) * segment_rows])
    return int(first), int(last)


def fits(codes: Codes, snapshot: Snapshot, segment_rows: int, number: int) -> bool:
    """Return whether the codes are those of the first rows that the segment has now. Rows that were added since have none."""
    first, last = span(snapshot, segment_rows, number)
    end = first + len(codes.slots)
    return 0 < len(codes.slots) and end <= last and stamp_of(snapshot, first, end) == codes.stamp


def _rank_candidates(
    features: NDArray[np.float32],
    rows_of: NDArray[np.int64],
    candidates: NDArray[np.int64],
    query: NDArray[np.float32],
    how: tuple[int, int, NDArray[np.bool_] | None, Shift | None],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the places of the nearest candidates of each query (Q, top), and their exact distances; -1 and infinity for none.

    `candidates` (Q, n) are coded rows, -1 for none; coded row i is row `rows_of`[i] of `features`. `how` is (top, the place of coded
    row 0, which coded rows may be ranked or None, the site calibration or None).
    """
    top, first, chosen, shift = how
    places = np.full((len(query), top), -1, np.int64)
    distances = np.full((len(query), top), np.inf, np.float32)
    for at, rows in enumerate(candidates):
        rows = rows[rows >= 0]
        rows = np.sort(rows if chosen is None else rows[chosen[rows]])
        if len(rows):
            one = query[at : at + 1]
            similar = features[rows_of[rows]] @ one.T
            if shift is not None:
                similar = shift.similarities(similar, one, first + rows)
            far = np.float32(1) - similar[:, 0]
            order = nearest_indices(far, min(top, len(far)))
            places[at, : len(order)] = first + rows[order]
            distances[at, : len(order)] = np.maximum(far[order], 0)
    return places, distances


def _joined(parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]], top: int) -> Ranked:
    """Return the nearest of several rankings of the same queries."""
    places = np.concatenate([part[0] for part in parts], axis=1)
    distances = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((places, distances))[:, :top]
    places, distances = np.take_along_axis(places, order, 1), np.take_along_axis(distances, order, 1)
    # every query has the same number of hits unless the filters leave a segment fewer candidates than asked
    count = int((places >= 0).sum(axis=1).min(initial=places.shape[1]))
    return Ranked(places[:, :count], distances[:, :count])
