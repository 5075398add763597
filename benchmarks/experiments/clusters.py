"""Make clusters of random features, one for each person, and time their evaluation or re-ranking."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.host.memory import high_water
from runtime.ranking.metrics import evaluate, evaluate_distances
from runtime.ranking.rerank import rerank

IDENTITIES = 750
CAMERAS = 6
# A person's images are nearer to each other than to others by this many standard deviations, so that mAP is between chance and 1.
SEPARATION = 2.7

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Timing:
    """The cost of one part. Seconds exclude making the data; the peak resident memory (MiB, None: unknown) is of its whole process."""

    part: str
    queries: int
    gallery: int
    dim: int
    wall_s: float
    cpu_s: float
    peak_rss_mib: float | None
    mAP: float


def clustered(count: int, centres: Floats, rng: np.random.Generator) -> tuple[Floats, Ids, Ids]:
    """Return unit features (count, D) around random rows of `centres`, and their pids and camids (count,)."""
    dim = centres.shape[1]
    # The cosine is 1 / (1 + noise^2) on average within a person, 0 between people, and spreads by dim^-0.5.
    noise = np.float32(max(dim**0.5 / SEPARATION - 1, 0) ** 0.5)
    labels = rng.integers(0, len(centres), count)
    features = rng.standard_normal((count, dim), dtype=np.float32)
    for start in range(0, count, 256):
        rows = features[start : start + 256]
        rows *= noise
        rows += centres[labels[start : start + 256]]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return features, labels + 1, rng.integers(0, CAMERAS, count)


def measure(part: str, queries: int, gallery: int, dim: int) -> Timing:
    """Time one part in this process: "evaluate", or "rerank" (re-ranking, then scoring its distances)."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((IDENTITIES, dim), dtype=np.float32)
    q, q_pids, q_camids = clustered(queries, centres, rng)
    g, g_pids, g_camids = clustered(gallery, centres, rng)
    wall, cpu = time.perf_counter(), time.process_time()
    if part == "evaluate":
        metrics = evaluate(q, q_pids, q_camids, g, g_pids, g_camids)
    else:
        metrics = evaluate_distances(rerank(q, g), q_pids, q_camids, g_pids, g_camids)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = high_water()
    mib = None if peak is None else peak / 2**20
    return Timing(part, queries, gallery, dim, wall, cpu, mib, metrics.mAP)
