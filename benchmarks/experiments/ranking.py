"""`python -m benchmarks.experiments.ranking`: time evaluation and re-ranking on random features.

Each part runs in its own process, so that its peak memory includes nothing of the other part: only the interpreter, the features and
the computation. For numbers that can be compared between machines, set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 1.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.ranking"))

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.unfinished import printed
from runtime.console import print_json
from runtime.errors import ConfigError
from runtime.extraction.processes import apart
from runtime.files.manifest import host, tools

if TYPE_CHECKING:
    from benchmarks.experiments.clusters import Timing


@dataclass(frozen=True)
class RankingOptions:
    """The number and size of the features that are ranked. With `rerank_dim` 0, the re-ranking is left out."""

    queries: int
    gallery: int
    dim: int
    rerank_dim: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> RankingOptions:
    """Parse the command line. ConfigError for counts below 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.ranking", description=__doc__)
    parser.add_argument(
        "--queries",
        type=int,
        default=3368,
        help="number of queries (default: that of Market-1501, %(default)s)",
    )
    parser.add_argument(
        "--gallery",
        type=int,
        default=19732,
        help="number of gallery images (default: that of Market-1501, %(default)s)",
    )
    parser.add_argument(
        "--dim", type=int, default=3840, help="feature size for the evaluation (default: %(default)s)"
    )
    parser.add_argument(
        "--rerank-dim",
        type=int,
        default=512,
        help="feature size for the re-ranking; 0 leaves it out (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    if min(args.queries, args.gallery, args.dim) < 1 or args.rerank_dim < 0:
        raise ConfigError(
            "--queries, --gallery and --dim must be 1 or more; see python -m benchmarks.experiments.ranking --help"
        )
    return RankingOptions(args.queries, args.gallery, args.dim, args.rerank_dim, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the seconds and memory of both parts; with --json, print {host, tools, threads, results: [Timing]}."""
    return run(parse(argv))


def run(options: RankingOptions) -> int:
    """Time each part in its own process, and print the results."""
    from benchmarks.experiments.clusters import measure

    parts = [("evaluate", options.dim)] + [("rerank", options.rerank_dim)] * (options.rerank_dim > 0)
    timings: list[Timing] = []
    with printed(lambda: {"host": host(), "results": [asdict(one) for one in timings]} if timings else None):
        for part, dim in parts:
            timings.append(apart(measure, part, options.queries, options.gallery, dim))
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if options.as_json:
        results = [asdict(timing) for timing in timings]
        print_json({"host": host(), "tools": tools("numpy"), "threads": threads, "results": results})
        return 0
    for t in timings:
        peak = "unknown" if t.peak_rss_mib is None else f"{t.peak_rss_mib:.0f} MiB"
        print(
            f"{t.part:9} {t.queries} x {t.gallery} x {t.dim}: {t.wall_s:.1f} s, {t.cpu_s:.1f} CPU s,"
            f" peak {peak}, mAP {t.mAP:.4f} (made-up features)"
        )
    return 0
