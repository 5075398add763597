"""`make integrations-check`: export a file for each tracker, run it inside the released tracker, and compare features and tracks.

Each package gets an environment of its own below .integrations/, with the versions of environments.py. The first run downloads
them. The checks run on the rendered sequence in data/sequence, and on Debian's vtest.avi where it can be had.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.host import describe_host
from benchmarks.tracker_tables import tracker_crops, trackers
from runtime.files.manifest import read_manifest
from tests.integrations_check.crop_costs import crop_costs
from tests.integrations_check.environments import ROOT
from tests.integrations_check.job import Job
from tests.integrations_check.running import CHECKS, SCORER, exported, run, vtest

COSINE, DIFFERENCE = 0.999999, 1e-5


@dataclass(frozen=True)
class Options:
    """The command line: what to check, on which model and sequence, and where the result goes.

    `data` and `other` are the data sets on which the cost of the trackers' crops is measured. With `times`, the command only measures
    the times in the file `out` again.
    """

    model: Path
    sequence: Path
    data: Path
    other: Path | None
    only: tuple[str, ...]
    frames: int | None
    work: Path
    out: Path
    times: bool


def parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.integrations_check", description=main.__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "hybrid_lite" / "model.safetensors")
    parser.add_argument("--sequence", type=Path, default=ROOT / "data" / "sequence")
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / "data" / "anny_reid",
        metavar="ROOT",
        help="data set for the mAP that each tracker's crops cost: its queries search its gallery (default: data/anny_reid)",
    )
    parser.add_argument(
        "--other",
        type=Path,
        metavar="ROOT",
        help="second data set for it: all images of its first camera search all of its second camera",
    )
    parser.add_argument("--only", nargs="+", choices=sorted(CHECKS), default=sorted(CHECKS))
    parser.add_argument("--frames", type=int, help="the largest number of frames of a clip (default: all)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "integrations")
    parser.add_argument("--out", type=Path, help="the result file (default: integrations.json in --work)")
    parser.add_argument(
        "--times",
        action="store_true",
        help="only measure the times of an existing result file again, for example on an idle machine",
    )
    args = parser.parse_args(argv)
    return Options(
        model=args.model,
        sequence=args.sequence,
        data=args.data,
        other=args.other,
        only=tuple(args.only),
        frames=args.frames,
        work=args.work,
        out=args.out or args.work / "integrations.json",
        times=args.times,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run exported files inside the released trackers. The exit code is 7 if features or tracks differ from ours."""
    options = parse(argv)
    if not list(options.sequence.glob("camera*.mp4")):
        print(f"integrations-check: {options.sequence} has no cameraN.mp4; give --sequence", file=sys.stderr)
        return 2
    if options.times and not options.out.is_file():
        print(f"integrations-check: no result file {options.out}; leave --times out", file=sys.stderr)
        return 2
    options.work.mkdir(parents=True, exist_ok=True)
    document = measured_again(options) if options.times else measured(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    show(document)
    failures = failures_of(document)
    for failure in failures:
        print(f"integrations-check: {failure}")
    if not document["vtest"]:
        print("integrations-check: vtest.avi of Debian's package opencv-doc cannot be had; skipped")
    return 7 if failures else 0


def measured(options: Options) -> dict:
    """Run everything, and return the document with the results."""
    programs = sorted({CHECKS[name][1] for name in options.only})
    files = {program: exported(program, options.model, options.work) for program in programs}
    video = vtest()
    results: dict[str, dict] = {}
    for name in options.only:
        module, program = CHECKS[name]
        job = Job(str(files[program]), str(options.sequence), video and str(video), options.frames)
        print(f"integrations-check: {name}", file=sys.stderr)
        result = run(name, module, {"job": job.to_json()}, options.work)
        if tracks := result.pop("tracks", None):
            request = {"job": job.to_json(), "scores": tracks}
            result["identity"] = run(SCORER, CHECKS[SCORER][0], request, options.work)
            result["same_tracks"] = same_tracks(tracks)
        results[name] = result
    return {
        "host": describe_host(device="cpu", threads=None),
        "command": command_of(options),
        "model": {
            "file": f"{options.model.parent.name}/{options.model.name}",
            "sha256": read_manifest(options.model)["sha256"],
        },
        "sequence": options.sequence.name,
        "vtest": video is not None,
        "crop_cost": crop_costs(files, options.data, options.other),
        "trackers": results,
    }


def command_of(options: Options) -> str:
    """Return the command with these options; folders are given by their names."""
    other = "" if options.other is None else f" --other {options.other.name}"
    return f"python -m tests.integrations_check{other} --out {options.out.name}"


def measured_again(options: Options) -> dict:
    """Return the document of the result file with new times."""
    document = json.loads(options.out.read_text())
    for name, result in document["trackers"].items():
        if "speed" in result:
            module, program = CHECKS[name]
            file = exported(program, options.model, options.work)
            job = Job(str(file), str(options.sequence), None, options.frames)
            result["speed"] = run(name, module, {"job": job.to_json(), "times": True}, options.work)
    return document


def same_tracks(tracks: dict[str, dict]) -> dict[str, dict] | None:
    """Compare the tracks of the tracker's own features with those of our features of the same pixels, where both ran.

    Returns {clip: {same, boxes, tracks}}: whether every box has the same track, and the numbers of tracked boxes and of tracks.
    """
    if "own" not in tracks:
        return None
    return {
        clip: {
            "same": rows == tracks["fed"][clip],
            "boxes": len(rows),
            "tracks": len({row[2] for row in rows}),
        }
        for clip, rows in tracks["own"].items()
    }


def failures_of(document: dict) -> list[str]:
    """Return one line for everything that is not as it must be."""
    failures = []
    for name, result in document["trackers"].items():
        pixels = result.get("same_pixels") or result.get("carried")
        if pixels and pixels["lowest_cosine"] < COSINE:
            failures.append(
                f"{name}: cosine {pixels['lowest_cosine']:.7f} to our features, less than {COSINE}"
            )
        if pixels and not pixels["boxes"]:
            failures.append(f"{name}: no box was compared")
        if pixels and pixels.get("largest_difference", 0) > DIFFERENCE:
            failures.append(f"{name}: its crops differ from ours by {pixels['largest_difference']:.1e}")
        for clip, compared in (result.get("same_tracks") or {}).items():
            if not compared["same"]:
                failures.append(f"{name}: other tracks than with our features on {clip}")
        if result.get("accepted_by_track") is False:
            failures.append(f"{name}: YOLO.track did not open the file")
    return failures


def show(document: dict) -> None:
    """Print the results."""
    for table in (trackers(document), tracker_crops(document)):
        print(table)
    for name, result in document["trackers"].items():
        if speed := result.get("speed"):
            print(
                f"{name}: {1000 / speed['own_ms']:.1f} frames/s on its own way, {1000 / speed['ours_ms']:.1f} on ours, "
                f"{speed['ratio']:.2f} times as fast, with {speed['people']:.1f} people a frame"
            )
        found = result.get("retrieval", {})
        if "reason" in found:
            print(f"{name}: the mAP between cameras was not measured: {found['reason']}")


if __name__ == "__main__":
    raise SystemExit(main())
