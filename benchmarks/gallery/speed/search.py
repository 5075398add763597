"""Measure the search in a large gallery: speed, size, and the recall of the index, on labelled rows among synthetic distractors."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.gallery.speed.distractors import draw, measure_spread
from benchmarks.gallery.speed.ingest import typical_rows
from runtime.errors import DataError
from runtime.features import Features
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.lookup.recall import TOP
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.options.store_place import StorePlace

# Rows that are added at a time, and the camera number of the distractors' first camera.
BLOCK, OTHERS = 8192, 4


@dataclass(frozen=True)
class Recall:
    """How many of the true rows of a group of people are found: rows of the query's person in the exact top 10, and with the index.

    `rows` rows of `people` people are in the gallery. `queries` of them were searched for; a row is no hit of its own search.
    """

    name: str
    people: int
    rows: int
    queries: int
    exact_hits: int
    indexed_hits: int | None
    recall: float | None


@dataclass(frozen=True)
class Times:
    """The times of one query in ms over `searches` searches: the median, the best and the median processor time.

    `against_plain` is the median quotient to a plain product of all features in memory with the query, measured in turn.
    """

    searches: int
    median_ms: float
    best_ms: float
    cpu_ms: float
    against_plain: float


@dataclass(frozen=True)
class Searched:
    """The result for a gallery of `rows` rows of `dim` numbers, of which `distractors` are synthetic.

    `open_s` are the seconds from opening the gallery to the first answer, in a process that has imported everything. `plain_ms` is
    the median time of a plain product in memory. `filtered` ranks one camera of eight. `index_build_s`, `index_bytes` and `indexed`
    belong to the index; None without it. `metadata_bytes_per_row` is the size on the disk without the numbers and the index.
    """

    rows: int
    dim: int
    distractors: int
    open_s: tuple[float, ...]
    plain_ms: float
    exact: Times
    filtered: Times
    indexed: Times | None
    index_build_s: float | None
    index_bytes: int | None
    index_recall: float | None
    recalls: tuple[Recall, ...]
    metadata_bytes_per_row: float


def measure_search(
    place: StorePlace,
    people: Sequence[tuple[str, Features]],
    *,
    rows: int,
    dim: int,
    searches: int,
    queries: int,
    index: bool,
    seed: int = 0,
) -> Searched:
    """Fill a gallery at `place` with the labelled rows and with distractors that vary like the first of the `people`, and search it.

    Features are projected on their `dim` largest principal components if they have more numbers, and repeated if they have fewer.
    """
    labelled = _fitted(people, dim)
    first = labelled[0][1]
    known = sum(len(features.pids) for _, features in labelled)
    if rows <= known:
        raise DataError(f"{rows} rows, but there are {known} labelled ones; give more rows")
    images = 8
    spread = measure_spread(first.features, first.pids)
    with Gallery(open_storage(place, Space("a" * 64, dim, "none"))) as store:
        for name, features in labelled:
            store.add_rows(_labelled_rows(name, features), features.features)
        left = rows - known
        for drawn, _ in draw(spread, -(-left // images), images, seed):
            done = rows - known - left
            some = drawn[:left]
            store.add_rows([_distractor(row) for row in typical_rows(done, len(some))], some)
            left -= len(some)
            if not left:
                break
    opening = tuple(_opening(place) for _ in range(5))
    query = np.concatenate([features.features for _, features in labelled])
    query = query[np.random.default_rng(seed).permutation(len(query))[:searches]]
    with open_gallery(place) as store:
        store.search(query[0])
        plain_bytes = _bytes(store)
        table = _table(store, dim)
        exact, plain = _times(store, query, table, {})
        filtered, _ = _times(store, query, table, {"cameras": [OTHERS]})
        del table
        built = index_recall = size = indexed = None
        if index:
            began = time.perf_counter()
            index_recall = store.build_index(recall=0.0).recall
            built = time.perf_counter() - began
            size = _bytes(store) - plain_bytes
            table = _table(store, dim)
            indexed, _ = _times(store, query, table, {"index": True})
            del table
        recalls = tuple(_recall(store, name, features, queries, index, seed) for name, features in labelled)
    return Searched(
        rows,
        dim,
        rows - known,
        opening,
        plain,
        exact,
        filtered,
        indexed,
        built,
        size,
        index_recall,
        recalls,
        plain_bytes / rows - 4 * dim,
    )


def _fitted(people: Sequence[tuple[str, Features]], dim: int) -> list[tuple[str, Features]]:
    """Return the features with `dim` numbers: projected on the principal components of the first, or repeated."""
    first = people[0][1].features
    fitted = []
    if dim <= first.shape[1]:
        values, vectors = np.linalg.eigh(first.T.astype(np.float64) @ first)
        basis = vectors[:, np.argsort(values)[::-1][:dim]].astype(np.float32)
    for name, features in people:
        whole = features.features
        table = whole @ basis if dim <= whole.shape[1] else np.tile(whole, -(-dim // whole.shape[1]))[:, :dim]
        table = table / np.linalg.norm(table, axis=1, keepdims=True)
        fitted.append((name, replace(features, features=np.ascontiguousarray(table, np.float32))))
    return fitted


def _labelled_rows(name: str, features: Features) -> list[Row]:
    return [
        Row(sha, camera=int(camera), person=f"{name} {person}", path=path)
        for sha, camera, person, path in zip(
            features.images, features.camids, features.pids, features.paths, strict=True
        )
    ]


def _distractor(row: Row) -> Row:
    return replace(row, camera=OTHERS + (row.camera or 0), person=None, source="synthetic")


def _table(store: Gallery, dim: int) -> NDArray[np.float32]:
    """Return all features in memory, in the order of adding."""
    ids = store.ids()
    table = np.empty((len(ids), dim), np.float32)
    for first in range(0, len(ids), BLOCK):
        table[first : first + BLOCK] = store.rows(ids[first : first + BLOCK])[1]
    return table


OPENING = """
import sys, time
import numpy as np
from runtime import open_gallery
query = np.zeros(int(sys.argv[2]), np.float32)
query[0] = 1
from runtime.gallery import api
began = time.perf_counter()
with open_gallery(sys.argv[1]) as store:
    store.search(query)
    print(time.perf_counter() - began)
"""


def _bytes(store: Gallery) -> int:
    """Return the size of everything that the gallery has on the disk."""
    content = store.info()
    return content.feature_bytes + content.other_bytes


def _opening(place: StorePlace) -> float:
    """Return the seconds from opening the gallery to the first answer in a new process."""
    with open_gallery(place) as store:
        dim = store.space.dim
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(place), str(dim)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _times(
    store: Gallery, queries: NDArray[np.float32], table: NDArray[np.float32], how: dict[str, object]
) -> tuple[Times, float]:
    """Search for each query, in turn with a plain product of the `table` with it; return the times and the median of the product."""
    search: Callable[..., object] = store.search
    search(queries[0], **how)
    walls, cpus, plains = [], [], []
    for query in queries:
        began, worked = time.perf_counter(), time.process_time()
        search(query, **how)
        walls.append(1000 * (time.perf_counter() - began))
        cpus.append(1000 * (time.process_time() - worked))
        began = time.perf_counter()
        far = 1 - table @ query
        np.argpartition(far, TOP)
        plains.append(1000 * (time.perf_counter() - began))
    quotients = [wall / plain for wall, plain in zip(walls, plains)]
    return (
        Times(
            len(walls),
            statistics.median(walls),
            min(walls),
            statistics.median(cpus),
            statistics.median(quotients),
        ),
        statistics.median(plains),
    )


def _recall(store: Gallery, name: str, features: Features, queries: int, index: bool, seed: int) -> Recall:
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(features.pids))[:queries]
    exact_hits = indexed_hits = 0
    for start in range(0, len(chosen), 50):
        some = chosen[start : start + 50]
        table = features.features[some]
        right = _true_rows(store, table, name, features, some, index=False)
        exact_hits += sum(map(len, right))
        if index:
            found = _true_rows(store, table, name, features, some, index=True)
            indexed_hits += sum(len(a & b) for a, b in zip(right, found))
    return Recall(
        name,
        len(np.unique(features.pids)),
        len(features.pids),
        len(chosen),
        exact_hits,
        indexed_hits if index else None,
        indexed_hits / exact_hits if index and exact_hits else None,
    )


def _true_rows(
    store: Gallery,
    table: NDArray[np.float32],
    name: str,
    features: Features,
    rows: NDArray[np.int64],
    *,
    index: bool,
) -> list[set[int]]:
    """Return for each query the ids of the rows of its person among the nearest 10, without the query's own row."""
    found: list[set[int]] = [set() for _ in rows]
    taken = [0] * len(rows)
    for hit in store.search(table, top=TOP + 1, index=index):
        own = int(rows[hit.query])
        if hit.row.sha256 == features.images[own]:
            continue
        taken[hit.query] += 1
        if taken[hit.query] <= TOP and hit.row.person == f"{name} {features.pids[own]}":
            found[hit.query].add(hit.id)
    return found
