"""Campaigns of damaged inputs: `python -m tests.campaigns`. None may end in a traceback, a native crash or a hang.

Images, checkpoints, configurations, manifests, feature files and ONNX files are damaged at random, byte by byte and in their
structure, half of them with a hash that fits again, and given to what every command reads them with. An input is its kind and
its seed: `python -m tests.campaigns images --seed 4711 --count 1` makes one of them again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.files.manifest import replacing, tools
from tests.campaigns.watchdog import outcomes
from tests.campaigns.worker import KINDS

COUNTS = {kind: 20_000 if kind == "images" else 2_000 for kind in KINDS}
SHOWN = 20
NAMES = ("Pillow", "PyYAML", "numpy", "onnx", "onnxruntime", "safetensors", "simplejpeg", "torch")


def summary(found: dict[int, str]) -> dict[str, Any]:
    """Seeds, how often each outcome was met, and the seeds of failures."""
    counts = Counter("failed" if result.startswith("FAIL") else result for result in found.values())
    failures = {str(seed): result for seed, result in found.items() if result.startswith("FAIL")}
    return {
        "seeds": [min(found), max(found)],
        "inputs": len(found),
        "outcomes": dict(sorted(counts.items())),
        "failures": failures,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run campaigns; exit code 1 when an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (all)")
    parser.add_argument("--count", type=int, help="inputs of each kind (20,000 images, 2,000 of the others)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--processes", type=int, default=2, help="workers at once (2)")
    parser.add_argument("--out", type=Path, help="JSON file in which the result of these kinds is put down")
    args = parser.parse_args(argv)
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    document: dict[str, Any] = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    failed = 0
    for kind in args.kinds or KINDS:
        count = args.count or COUNTS[kind]
        seeds = range(args.seed, args.seed + count)
        ended = 0

        def done(seed: int) -> None:
            nonlocal ended
            ended += 1
            if sys.stderr.isatty():
                print(f"\r{kind}: {ended} of {count}", end="", file=sys.stderr, flush=True)  # noqa: B023

        found = summary(outcomes(kind, seeds, processes=args.processes, done=done))
        failed += len(found["failures"])
        said = ", ".join(f"{number} {name}" for name, number in found["outcomes"].items())
        print(f"{kind}: {found['inputs']} inputs, seeds {args.seed} to {seeds[-1]}: {said}", flush=True)
        for seed, result in list(found["failures"].items())[:SHOWN]:
            print(f"  seed {seed}: {result}")
        document[kind] = found | {"tools": tools(*NAMES)}
        if args.out:
            with replacing(args.out) as temporary:
                temporary.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
