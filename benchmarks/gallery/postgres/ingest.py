"""Measure how fast a server stores features durably, with one and with several clients at once. Synthetic rows."""

from __future__ import annotations

import os
import statistics
import time
import traceback
from dataclasses import dataclass

from benchmarks.gallery.postgres.database import Database
from benchmarks.gallery.speed.ingest import typical_rows, unit_vectors
from runtime.gallery.api import open_gallery
from runtime.gallery.space import Space
from runtime.options.store_place import StorePlace


@dataclass(frozen=True)
class ServerIngest:
    """The result for `clients` processes that add `rows` rows of `dim` numbers together, `batch` rows in each durable commit.

    `rows_per_s` is the median over the rounds, and `best_rows_per_s` the fastest. `bytes_per_row` is the size of the tables and their
    indexes, and `against_raw` that size as a multiple of the numbers alone.
    """

    clients: int
    dim: int
    batch: int
    rows: int
    rounds: int
    rows_per_s: float
    best_rows_per_s: float
    bytes_per_row: float
    against_raw: float


def measure_server_ingest(
    server: Database, *, clients: int, rows: int, dim: int, batch: int, rounds: int
) -> ServerIngest:
    """Add `rows` rows to a new gallery, `rounds` times."""
    times, size = [], 0
    share = rows // clients
    for number in range(rounds):
        place = server.create(f"i{clients}_{dim}_{batch}_{number}")
        with open_gallery(place, space=Space("a" * 64, dim, "none")):
            pass
        ready, go = os.pipe(), os.pipe()
        children = [
            _client(place, dim, batch, client * share, share, ready[1], go) for client in range(clients)
        ]
        for _ in children:
            os.read(ready[0], 1)
        began = time.perf_counter()
        os.write(go[1], b"g" * clients)
        failed = [os.waitpid(child, 0)[1] for child in children]
        times.append(time.perf_counter() - began)
        for end in (*ready, *go):
            os.close(end)
        with open_gallery(place) as store:
            content = store.info()
        size = content.feature_bytes + content.other_bytes
        if any(failed) or content.rows != share * clients:
            raise RuntimeError(f"{content.rows} rows were stored, not {share * clients}")
        server.drop(f"i{clients}_{dim}_{batch}_{number}")
    done = share * clients
    return ServerIngest(
        clients,
        dim,
        batch,
        done,
        rounds,
        done / statistics.median(times),
        done / min(times),
        size / done,
        size / (done * dim * 4),
    )


def _client(
    place: StorePlace, dim: int, batch: int, first: int, count: int, ready: int, go: tuple[int, int]
) -> int:
    """Start a process that adds rows when it is told to, and return its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        features = unit_vectors(batch, dim)
        with open_gallery(place) as store:
            os.write(ready, b"r")
            os.read(go[0], 1)
            for start in range(first, first + count, batch):
                some = min(batch, first + count - start)
                store.add_rows(typical_rows(start, some), features[:some])
        status = 0
    except BaseException:
        traceback.print_exc()
        # the other process waits for this one
        os.write(ready, b"x")
    finally:
        os._exit(status)
