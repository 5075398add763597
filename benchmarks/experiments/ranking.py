"""`python -m benchmarks.experiments.ranking`: time evaluation and re-ranking on random features.

Evaluation and re-ranking run in separate processes, so that the peak memory of one includes nothing of the other. For times that
can be compared between machines, set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 1.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
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
    """The command line: how many query features (`queries`) and gallery features (`gallery`) are made, and how long they are.

    A feature has `dim` numbers in the evaluation and `rerank_dim` in the re-ranking. If `rerank_dim` is 0, the re-ranking is left out.
    With `as_json`, the result is printed as one JSON document.
    """

    queries: int
    gallery: int
    dim: int
    rerank_dim: int
    as_json: bool


def parse(argv: Sequence[str] | None) -> RankingOptions:
    """Parse a command line into options. Raises ConfigError for a number below 1, or below 0 for --rerank-dim."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.ranking", description=__doc__)
    parser.add_argument(
        "--queries",
        type=int,
        default=3368,
        help="number of queries (default: %(default)s, as in Market-1501)",
    )
    parser.add_argument(
        "--gallery",
        type=int,
        default=19732,
        help="number of gallery images (default: %(default)s, as in Market-1501)",
    )
    parser.add_argument(
        "--dim",
        type=int,
        default=3840,
        help="numbers in a feature for the evaluation (default: %(default)s)",
    )
    parser.add_argument(
        "--rerank-dim",
        type=int,
        default=512,
        help="numbers in a feature for the re-ranking; 0 leaves the re-ranking out (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    args = parser.parse_args(argv)
    if min(args.queries, args.gallery, args.dim) < 1 or args.rerank_dim < 0:
        raise ConfigError(
            "--queries, --gallery and --dim must be 1 or more, and --rerank-dim 0 or more; see "
            "python -m benchmarks.experiments.ranking --help"
        )
    return RankingOptions(args.queries, args.gallery, args.dim, args.rerank_dim, args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the time and memory of an evaluation and of a re-ranking. With --json, print {host, tools, threads, results: [Timing]}."""
    return run(parse(argv))


def run(options: RankingOptions) -> int:
    """Time the evaluation and the re-ranking in separate processes, and print the results."""
    from benchmarks.experiments.clusters import measure

    parts = [("evaluate", options.dim)] + [("rerank", options.rerank_dim)] * (options.rerank_dim > 0)
    timings: list[Timing] = []
    with printed(
        lambda: {"host": host(), "results": [asdict(timing) for timing in timings]} if timings else None
    ):
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
