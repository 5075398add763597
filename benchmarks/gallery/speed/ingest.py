"""Measure how fast a gallery stores features durably, without a model, and how many bytes a row takes. Synthetic rows."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.gallery.api import Gallery
from runtime.gallery.local import open_local
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row


@dataclass(frozen=True)
class Ingest:
    """The result for features of `dim` numbers that were added in batches of `batch` rows, with one durable commit each.

    `rows_per_s` is the median over the rounds, and `best_rows_per_s` the fastest. `cpu_us_per_row` is the processor time of a row in
    microseconds. `plain_rows_per_s` is the median for a plain file to which the same features are written with a sync for each batch,
    in turn with the gallery, and `against_plain` the median of the quotients. `feature_bytes_per_row` and `metadata_bytes_per_row` are
    the sizes of the files after the gallery was closed, and `against_raw` is their sum as a multiple of the numbers alone.
    """

    dim: int
    batch: int
    rows: int
    rounds: int
    rows_per_s: float
    best_rows_per_s: float
    cpu_us_per_row: float
    plain_rows_per_s: float
    against_plain: float
    feature_bytes_per_row: float
    metadata_bytes_per_row: float
    against_raw: float


def typical_rows(first: int, count: int) -> list[Row]:
    """Return rows with all labels: four cameras, eight images a track, 32 a person, and a path of 57 characters."""
    return [
        Row(
            hashlib.sha256(str(number).encode()).hexdigest(),
            camera=number % 4,
            time_us=1_795_774_500_000_000 + 250_000 * number,
            track=str(number // 8),
            person=str(number // 32),
            path=f"/data/site/camera{number % 4}/2026-11-27/{number:012d}_crop.jpg",
        )
        for number in range(first, first + count)
    ]


def unit_vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random features (count, dim) of length 1."""
    values = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def measure_ingest(folder: Path, *, rows: int, dim: int, batch: int, rounds: int) -> Ingest:
    """Add `rows` rows to a new gallery in `folder`, `rounds` times, in turn with a plain file."""
    features = unit_vectors(batch, dim)
    times, plain, cpu = [], [], []
    for number in range(rounds):
        place = folder / f"{dim}-{batch}-{number}"
        with Gallery(open_local(place, Space("a" * 64, dim, "none"))) as store:
            began, worked = time.perf_counter(), time.process_time()
            for first in range(0, rows, batch):
                count = min(batch, rows - first)
                store.add_rows(typical_rows(first, count), features[:count])
            times.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
        plain.append(_plain(folder / "plain", features, rows))
        feature_bytes = sum(path.stat().st_size for path in place.glob("*.f32"))
        other_bytes = sum(path.stat().st_size for path in place.iterdir()) - feature_bytes
    return Ingest(
        dim,
        batch,
        rows,
        rounds,
        rows_per_s=rows / statistics.median(times),
        best_rows_per_s=rows / min(times),
        cpu_us_per_row=1e6 * statistics.median(cpu) / rows,
        plain_rows_per_s=rows / statistics.median(plain),
        against_plain=statistics.median(p / t for p, t in zip(plain, times)),
        feature_bytes_per_row=feature_bytes / rows,
        metadata_bytes_per_row=other_bytes / rows,
        against_raw=(feature_bytes + other_bytes) / (rows * dim * 4),
    )


def _plain(path: Path, features: NDArray[np.float32], rows: int) -> float:
    """Return the seconds that it takes to write the features to one file, with a sync for each batch."""
    data, batch = features.tobytes(), len(features)
    file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR)
    try:
        began = time.perf_counter()
        for first in range(0, rows, batch):
            os.pwrite(file, data, first * features.shape[1] * 4)
            os.fdatasync(file)
        return time.perf_counter() - began
    finally:
        os.close(file)
        path.unlink()
