"""Search on a server: it finds candidates, exactly or by its index, and their features are ranked here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.lookup.exact import Block, nearest
from runtime.gallery.lookup.filters import Filters, Search
from runtime.gallery.lookup.searching import NEIGHBOURHOOD, GalleryHit
from runtime.gallery.postgres.driver import HEAD, NUMBER, Feature, feature_bytes
from runtime.gallery.postgres.rows import condition, count_in, read_rows
from runtime.gallery.postgres.server import Server
from runtime.gallery.store.rows import Row
from runtime.ranking.rerank import rerank
from runtime.ranking.site import SiteMeans

# More queries than this are compared here, with the features that the server sends once; fewer are compared there, one by one.
FEW = 6
# Rows that are compared at a time, and rows that the server names beyond those that are asked for: it rounds in another way.
BLOCK, SLACK = 8192, 8
# Candidates of the index for each query, at least, and the most that it can give.
CANDIDATES, MOST = 100, 1000
# The index holds numbers of 32 bits up to this width, and of 16 bits up to the second.
SINGLE, HALF = 2000, 4000
# How a binary copy begins, and the length of its head.
START, START_BYTES = b"PGCOPY\n\xff\r\n\0", 19


def find(
    server: Server, query: NDArray[np.float32], search: Search, site: SiteMeans | None
) -> list[GalleryHit]:
    """Return the hits of the queries (Q, D), which are calibrated already; `site` is applied to the rows."""
    wide = max(search.top, NEIGHBOURHOOD) if search.rerank else search.top
    with server.reading() as db:
        ids, rows, features, near = _near(
            db, server, query, Search(search.filters, wide, index=search.index), site
        )
    hits = []
    for number, places in enumerate(near):
        order, far = _ranked(features[places], query[number], wide)
        places = places[order]
        if search.rerank and len(places):
            (block,) = rerank(query[number : number + 1], features[places])
            order = np.argsort(block[0], kind="stable")
            places, far = places[order], block[0][order]
        hits += [
            GalleryHit(number, rank, float(distance), ids[place], rows[place])
            for rank, (place, distance) in enumerate(zip(places[: search.top].tolist(), far), 1)
        ]
    return hits


def nearest_ids(
    db: Any, server: Server, query: NDArray[np.float32], search: Search, site: SiteMeans | None
) -> list[list[int]]:
    """Return the ids of the rows that `find` would rank for each query (Q, D), nearest first, within a transaction."""
    ids, _, features, near = _near(db, server, query, search, site)
    return [
        [ids[place] for place in places[_ranked(features[places], one, search.top)[0]].tolist()]
        for one, places in zip(query, near)
    ]


def _near(
    db: Any, server: Server, query: NDArray[np.float32], search: Search, site: SiteMeans | None
) -> tuple[list[int], list[Row], NDArray[np.float32], list[NDArray[np.int64]]]:
    """Return the ids, the rows and the features (N, D), with `site` applied, of all candidates, and the places of each query's."""
    named = candidates(db, server, query, search, site)
    ids = sorted({number for some in named for number in some})
    rows, features = read_rows(db, server, ids)
    if site is not None:
        cameras = np.array([-1 if row.camera is None else row.camera for row in rows], np.int64)
        features = site.apply(features, cameras)
    place_of = {number: place for place, number in enumerate(ids)}
    return (
        ids,
        rows,
        features,
        [np.array([place_of[number] for number in some], np.int64) for some in named],
    )


def _ranked(
    features: NDArray[np.float32], query: NDArray[np.float32], top: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (places, distances) of the `top` nearest features, whose order is that of their ids."""
    far = np.maximum(np.float32(1) - np.einsum("nd,d->n", features, query), 0)
    order = np.argsort(far, kind="stable")[:top]
    return order, far[order]


def candidates(
    db: Any, server: Server, query: NDArray[np.float32], search: Search, site: SiteMeans | None
) -> list[list[int]]:
    """Return for each query (Q, D) the ids of rows that hold its `search.top` nearest, ascending. With `search.index`, nearly all."""
    if search.index and is_indexed(db) and 4 * search.top <= MOST:
        wide = max(CANDIDATES, 4 * search.top)
        near = [by_index(db, server, one, search.filters, wide) for one in feature_bytes(query)]
        short = [at for at, some in enumerate(near) if len(some) < search.top]
        if short:
            # the index met too few rows of a filter, unless there are no more
            least = count_in(db, search.filters, search.top)
            for at in short:
                if len(near[at]) < least:
                    near[at] = _exact(db, query[at : at + 1], search, site)[0]
        return near
    if len(query) > FEW:
        return _streamed(db, server, query, search, site)
    return _exact(db, query, search, site)


def is_indexed(db: Any) -> bool:
    """Return whether there is an index that was judged to be good enough."""
    return bool(db.execute("SELECT indexed FROM reid_store").fetchone()[0])


def by_index(db: Any, server: Server, query: Feature, filters: Filters, count: int) -> list[int]:
    """Return the ids of about `count` rows that are near to a query, ascending. Call it inside a transaction."""
    db.execute(f"SET LOCAL hnsw.ef_search = {min(count, MOST)}")
    db.execute("SET LOCAL hnsw.iterative_scan = strict_order")
    text, values = condition(filters)
    statement = f"SELECT id FROM reid_image{text} ORDER BY {distance(server.space.dim)} LIMIT %s"
    return sorted(number for (number,) in db.execute(statement, (*values, query, count)))


def distance(dim: int) -> str:
    """Return the SQL of the distance that the index of features of this width orders by, with a placeholder for the query."""
    if dim <= SINGLE:
        return "feature <#> %s"
    return f"feature::halfvec({dim}) <#> (%s)::halfvec({dim})"


def _exact(db: Any, query: NDArray[np.float32], search: Search, site: SiteMeans | None) -> list[list[int]]:
    """Compare each query with every row on the server."""
    text, values = condition(search.filters)
    source, score, means = "reid_image", "(feature <#> %s) + 0", _means(site, query)
    if means:
        # the product with the row less the mean of its camera, divided by the length that is left
        table = ", ".join(["(%s::bigint, %s::vector, %s::float8)"] * len(means[0]))
        known = [one[0] for one in means[0][:-1]]
        source += f" JOIN (VALUES {table}) AS site (place, mean, product)"
        source += " ON place = CASE WHEN camera = ANY(%s::bigint[]) THEN camera ELSE -1 END"
        score = "((feature <#> %s) + product) / greatest(feature <-> mean, 1e-30)"
    # an expression that no index is ordered by
    statement = f"SELECT id FROM {source}{text} ORDER BY {score}, id LIMIT %s"
    near = []
    for number, one in enumerate(feature_bytes(query)):
        first = [] if not means else [value for line in means[number] for value in line] + [known]
        found = db.execute(statement, (*first, *values, one, search.top + SLACK))
        near.append(sorted(row for (row,) in found))
    return near


def _means(site: SiteMeans | None, query: NDArray[np.float32]) -> list[list[tuple[int, Feature, float]]]:
    """Return for each query the lines (camera, mean, product with the query) of a site calibration; the last is of other cameras."""
    if site is None:
        return []
    table = site.table()
    cameras, means = [*site.cameras, -1], feature_bytes(table)
    return [list(zip(cameras, means, (table @ one).astype(float).tolist())) for one in query]


def _streamed(
    db: Any, server: Server, query: NDArray[np.float32], search: Search, site: SiteMeans | None
) -> list[list[int]]:
    """Read the features of all rows once, and compare them with all queries."""
    ids = np.empty((len(query), 0), np.int64)
    far = np.empty((len(query), 0), np.float32)
    for numbers, cameras, features in blocks(db, server.space.dim, search.filters):
        if site is not None:
            features = site.apply(features, cameras)
        every = np.arange(len(numbers))
        places, distances = nearest([Block(features, every, every)], query, top=search.top)
        ids = np.concatenate([ids, numbers[places]], axis=1)
        far = np.concatenate([far, distances], axis=1)
        order = np.lexsort((ids, far))[:, : search.top]
        ids, far = np.take_along_axis(ids, order, 1), np.take_along_axis(far, order, 1)
    return [sorted(map(int, some)) for some in ids]


def blocks(
    db: Any, dim: int, filters: Filters
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield (ids (n,), cameras (n,), features (n, D)) of the rows that the filters leave; a camera of -1 is unknown."""
    text, values = condition(filters)
    # a row of a binary copy: the number of its columns, and for each its length and its value
    row = np.dtype(
        [("columns", ">i2"), ("a", ">i4"), ("id", ">i8"), ("b", ">i4"), ("camera", ">i8"), ("c", ">i4")]
        + [("head", HEAD), ("numbers", NUMBER, (dim,))]
    )
    statement = (
        f"COPY (SELECT id, coalesce(camera, -1), feature FROM reid_image{text}) TO STDOUT (FORMAT BINARY)"
    )
    data = bytearray()
    with db.cursor().copy(statement, values) as copy:
        for part in copy:
            data += part
            if data.startswith(START):
                del data[:START_BYTES]
            count = len(data) // row.itemsize
            if count >= BLOCK:
                yield _parsed(data, row, count)
                del data[: count * row.itemsize]
    if count := len(data) // row.itemsize:
        yield _parsed(data, row, count)


def _parsed(
    data: bytearray, row: np.dtype[Any], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    table = np.frombuffer(bytes(data[: count * row.itemsize]), row)
    return (
        table["id"].astype(np.int64),
        table["camera"].astype(np.int64),
        table["numbers"].astype(np.float32),
    )
