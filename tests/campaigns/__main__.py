"""Feed damaged files to the readers of this project: `python -m tests.campaigns`.

Images, checkpoints, configurations, manifests, feature files, ONNX files and files of boxes are damaged at random, in their
bytes and in their structure, and read as the commands read them. In half of them, the hash is corrected. A traceback, a native
crash or a hang is a failure. The kind of file and a seed determine an input, so
`python -m tests.campaigns images --seed 4711 --count 1` repeats a single one.
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


def summary(outcome_of: dict[int, str]) -> dict[str, Any]:
    """Return {seeds, inputs, outcomes, failures}: how often each outcome occurred, and the seeds of the failures."""
    counts = Counter("failed" if result.startswith("FAIL") else result for result in outcome_of.values())
    failures = {str(seed): result for seed, result in outcome_of.items() if result.startswith("FAIL")}
    return {
        "seeds": [min(outcome_of), max(outcome_of)],
        "inputs": len(outcome_of),
        "outcomes": dict(sorted(counts.items())),
        "failures": failures,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaigns of the requested kinds of files, and print their outcomes. Returns 1 if an input failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__.split("\n")[0])
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"kinds of files, from {', '.join(KINDS)} (all)"
    )
    parser.add_argument(
        "--count", type=int, help="number of inputs of each kind (20,000 images, 2,000 of each other kind)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first input (%(default)s)")
    parser.add_argument(
        "--processes", type=int, default=2, help="number of processes at the same time (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="JSON file to which the outcomes of these kinds are written")
    args = parser.parse_args(argv)
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; give some of {', '.join(KINDS)}")
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

        campaign = summary(outcomes(kind, seeds, processes=args.processes, done=done))
        failed += len(campaign["failures"])
        counts = ", ".join(f"{number} {name}" for name, number in campaign["outcomes"].items())
        print(f"{kind}: {campaign['inputs']} inputs, seeds {args.seed} to {seeds[-1]}: {counts}", flush=True)
        for seed, result in list(campaign["failures"].items())[:SHOWN]:
            print(f"  seed {seed}: {result}")
        document[kind] = campaign | {"tools": tools(*NAMES)}
        if args.out:
            with replacing(args.out) as temporary:
                temporary.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
