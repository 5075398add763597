"""Make random features in clusters, one cluster for each person, and time their evaluation or re-ranking."""

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
# The cosine of two images of a person is higher than that of two persons, on average by this many standard deviations. The mAP of
# such features is between chance and 1.
SEPARATION = 2.7

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Timing:
    """The time and memory of an evaluation (`part` "evaluate") or a re-ranking ("rerank") of features of `dim` numbers.

    `queries` and `gallery` are the numbers of features. `wall_s` and `cpu_s` are seconds, without the time to make the features.
    `peak_rss_mib` is the peak resident memory of the whole process in MiB, or None if the system does not report it. `mAP` is in 0..1.
    """

    part: str
    queries: int
    gallery: int
    dim: int
    wall_s: float
    cpu_s: float
    peak_rss_mib: float | None
    mAP: float


def clustered(count: int, centres: Floats, rng: np.random.Generator) -> tuple[Floats, Ids, Ids]:
    """Return random features (count, D) normalised to length 1, and their pids and camids (count,).

    Row p of `centres` (P, D) is the centre of the features of person p + 1. Each feature has a random person and a random camera.
    """
    dim = centres.shape[1]
    # The mean cosine is 1 / (1 + noise^2) between images of a person and 0 between people. Its standard deviation is dim^-0.5.
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
    """Time an evaluation or a re-ranking in this process, on `queries` and `gallery` random features of `dim` numbers.

    With `part` "evaluate", mAP and CMC are computed from the features. With `part` "rerank", re-ranked distances are computed, and
    then mAP and CMC from them.
    """
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
