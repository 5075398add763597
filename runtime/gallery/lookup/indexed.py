"""Approximate search: find candidates by their codes, and rank these exactly by their features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.codes import Codes, read_codes, stamp_of, write_codes
from runtime.gallery.lookup.exact import nearest
from runtime.gallery.lookup.searching import Ranked, Ranking, blocks_of
from runtime.gallery.lookup.snapshot import Snapshot
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
    """The codes that were loaded, by the number of their segment. A segment whose rows changed loses its codes.

    `fitting` is the snapshot whose rows the codes were last compared with.
    """

    loaded: dict[int, Codes] = field(default_factory=dict)
    fitting: Snapshot | None = None

    def copy(self) -> CodeCache:
        """Return a cache of the same codes, which a later `refresh` of this one leaves as it is."""
        return CodeCache(dict(self.loaded), self.fitting)

    def refresh(self, snapshot: Snapshot, segments: Segments) -> Coverage:
        """Drop the codes that are out of date, and load those whose files are there and fit the snapshot."""
        from runtime.gallery.lookup import faiss

        if snapshot is not self.fitting:
            self.loaded = {
                number: codes for number, codes in self.loaded.items() if fits(codes, snapshot, number)
            }
            self.fitting = snapshot
        coded = 0
        for number in snapshot.segments():
            if number not in self.loaded:
                found = read_codes(segments.codes_path(number), faiss.version())
                # the stamp is compared before faiss reads the bytes
                if found is not None and fits(Codes(*found[:2], None), snapshot, number):
                    self.loaded[number] = Codes(found[0], found[1], faiss.load(found[2]))
            coded += len(self.loaded[number].slots) if number in self.loaded else 0
        return Coverage(len(snapshot.ids), coded)

    def encode(self, snapshot: Snapshot) -> dict[int, bytes]:
        """Make the codes of every segment whose rows do not all have some, and keep them; return them by segment."""
        from runtime.gallery.lookup import faiss

        made = {}
        for number in snapshot.segments():
            first, last = snapshot.span(number)
            if number in self.loaded and len(self.loaded[number].slots) == last - first:
                continue
            slots = snapshot.slots[first:last]
            data = faiss.encode(snapshot.maps[number][slots - number * snapshot.segment_rows])
            self.loaded[number] = Codes(stamp_of(snapshot, first, last), slots, faiss.load(data))
            made[number] = data
        return made

    def write(self, made: dict[int, bytes], segments: Segments) -> None:
        """Write the files of codes that were made."""
        from runtime.gallery.lookup import faiss

        for number, data in made.items():
            codes = self.loaded[number]
            write_codes(segments.codes_path(number), faiss.version(), codes.stamp, codes.slots, data)

    def rank(self, snapshot: Snapshot, query: NDArray[np.float32], how: Ranking) -> Ranked:
        """Rank the rows that the filters leave: by codes where there are some, exactly elsewhere. Distances are exact."""
        from runtime.gallery.lookup import faiss

        selected = snapshot.selected(how.filters)
        parts: list[Ranked] = []
        exact = np.ones(len(snapshot.ids), bool) if selected is None else selected.copy()
        for number, codes in self.loaded.items():
            first, _ = snapshot.span(number)
            count = len(codes.slots)
            chosen = exact[first : first + count]
            left = int(chosen.sum())
            if left < FEW_ROWS or left < FEW * count:
                continue
            wide = min(int(max(CANDIDATES, 4 * how.top) * count / left), count)
            candidates = faiss.nearest(codes.index, query, wide)
            usable = (candidates >= 0) & chosen[candidates]
            # the codes know no filters, so they may find too few rows that a filter leaves; the exact search then ranks the segment
            if usable.sum(axis=1).min(initial=left) < min(how.top, left):
                continue
            features = snapshot.maps[number]
            rows = codes.slots - number * snapshot.segment_rows
            parts.append(
                _rank_candidates(
                    features, rows, first, [c[u] for c, u in zip(candidates, usable)], query, how
                )
            )
            exact[first : first + count] = False
        rest = nearest(blocks_of(snapshot, exact), query, top=how.top, correction=how.correction)
        return _joined([Ranked(*rest), *parts], how.top)


def fits(codes: Codes, snapshot: Snapshot, number: int) -> bool:
    """Return whether the codes are those of the first rows that segment `number` has now. Rows that were added since have none."""
    first, last = snapshot.span(number)
    end = first + len(codes.slots)
    return 0 < len(codes.slots) and end <= last and stamp_of(snapshot, first, end) == codes.stamp


def _rank_candidates(
    features: NDArray[np.float32],
    rows_of: NDArray[np.int64],
    first: int,
    candidates: list[NDArray[np.int64]],
    query: NDArray[np.float32],
    how: Ranking,
) -> Ranked:
    """Return the nearest candidates of each query, with their exact distances.

    `candidates` has the coded rows to rank for each query. Coded row i is row `rows_of`[i] of `features`, and `first` + i its place.
    """
    count = min([how.top, *map(len, candidates)])
    places = np.empty((len(query), count), np.int64)
    distances = np.empty((len(query), count), np.float32)
    for at, rows in enumerate(candidates):
        rows, one = np.sort(rows), query[at : at + 1]
        similar = features[rows_of[rows]] @ one.T
        if how.correction is not None:
            similar = how.correction.similarities(similar, one, first + rows)
        far = np.float32(1) - similar[:, 0]
        order = nearest_indices(far, count)
        places[at], distances[at] = first + rows[order], np.maximum(far[order], 0)
    return Ranked(places, distances)


def _joined(parts: list[Ranked], top: int) -> Ranked:
    """Return the nearest of several rankings of the same queries."""
    places = np.concatenate([part.places for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    order = np.lexsort((places, distances))[:, :top]
    return Ranked(np.take_along_axis(places, order, 1), np.take_along_axis(distances, order, 1))
