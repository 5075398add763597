"""Time evaluation and re-ranking on made-up features. `python -m benchmarks.experiments.ranking --help`

Each part runs in a process of its own, so that its peak memory is its own: interpreter, features and work
together. Set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 1 for numbers that compare between machines.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.experiments.ranking"))

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.unfinished import printed
from runtime.errors import ConfigError
from runtime.extraction.processes import apart
from runtime.files.manifest import host, tools
from runtime.ranking.metrics import evaluate, evaluate_distances
from runtime.ranking.rerank import rerank

IDENTITIES = 750
CAMERAS = 6
# A person's images are this many standard deviations nearer than others': an mAP between chance and perfect.
SEPARATION = 2.7

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Timing:
    """One part's cost: seconds without making the data, peak resident memory of its whole process in MiB."""

    part: str
    queries: int
    gallery: int
    dim: int
    wall_s: float
    cpu_s: float
    peak_rss_mib: float
    mAP: float


def clustered(count: int, centres: Floats, rng: np.random.Generator) -> tuple[Floats, Ids, Ids]:
    """Unit features (count, D) around random rows of `centres`, their pids and camids (count,)."""
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
    """Time one part in this process: "evaluate" or "rerank" (re-ranking, and scoring its distances)."""
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
    return Timing(part, queries, gallery, dim, wall, cpu, _peak_rss_mib(), metrics.mAP)


def _peak_rss_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.ranking", description=__doc__)
    parser.add_argument("--queries", type=int, default=3368, help="default: Market-1501's %(default)s")
    parser.add_argument("--gallery", type=int, default=19732, help="default: Market-1501's %(default)s")
    parser.add_argument(
        "--dim", type=int, default=3840, help="feature size for evaluation, default %(default)s"
    )
    parser.add_argument(
        "--rerank-dim", type=int, default=512, help="for re-ranking, default %(default)s; 0: leave it out"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print both parts' seconds and memory; with --json as {host, tools, threads, results: [Timing]}."""
    options = _parser().parse_args(argv)
    if min(options.queries, options.gallery, options.dim) < 1 or options.rerank_dim < 0:
        raise ConfigError(
            "--queries, --gallery and --dim count from 1; see python -m benchmarks.experiments.ranking --help"
        )
    parts = [("evaluate", options.dim)] + [("rerank", options.rerank_dim)] * (options.rerank_dim > 0)
    timings: list[Timing] = []
    with printed(lambda: {"host": host(), "results": [asdict(one) for one in timings]} if timings else None):
        for part, dim in parts:
            timings.append(apart(measure, part, options.queries, options.gallery, dim))
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if options.json:
        results = [asdict(timing) for timing in timings]
        print(json.dumps({"host": host(), "tools": tools("numpy"), "threads": threads, "results": results}))
        return 0
    for t in timings:
        print(
            f"{t.part:9} {t.queries} x {t.gallery} x {t.dim}: {t.wall_s:.1f} s, {t.cpu_s:.1f} CPU s,"
            f" peak {t.peak_rss_mib:.0f} MiB, mAP {t.mAP:.4f} (made-up features)"
        )
    return 0
