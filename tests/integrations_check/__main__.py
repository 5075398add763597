"""`make integrations-check`: export a file for each tracker, run it inside the released tracker, and compare features and tracks.

Each package gets an environment of its own below .integrations/, with the versions of environments.py. The first run downloads
them. The checks run on the rendered sequence in data/sequence, and on Debian's vtest.avi where it can be had.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.host import describe_host
from runtime.console import print_table
from runtime.files.manifest import read_manifest
from tests.integrations_check.environments import FOLDER, ROOT, python_of
from tests.integrations_check.job import Job

# Environment -> (the module in_NAME.py, the program of --for whose file it gets).
CHECKS = {
    "ultralytics": ("ultralytics", "ultralytics"),
    "boxmot": ("boxmot", "boxmot"),
    "deep-sort-realtime": ("deep_sort_realtime", "boxmot"),
    "norfair": ("norfair", "boxmot"),
    "trackers": ("trackers", "boxmot"),
}
SCORER = "norfair"
COSINE, DIFFERENCE = 0.999999, 1e-5
VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")


@dataclass(frozen=True)
class Options:
    """The command line: what to check, on which model and sequence, and where the result goes."""

    model: Path
    sequence: Path
    only: tuple[str, ...]
    frames: int | None
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.integrations_check", description=main.__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "hybrid_lite" / "model.safetensors")
    parser.add_argument("--sequence", type=Path, default=ROOT / "data" / "sequence")
    parser.add_argument("--only", nargs="+", choices=sorted(CHECKS), default=sorted(CHECKS))
    parser.add_argument("--frames", type=int, help="the largest number of frames of a clip (default: all)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "integrations")
    parser.add_argument("--out", type=Path, help="the result file (default: integrations.json in --work)")
    args = parser.parse_args(argv)
    return Options(
        model=args.model,
        sequence=args.sequence,
        only=tuple(args.only),
        frames=args.frames,
        work=args.work,
        out=args.out or args.work / "integrations.json",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run exported files inside the released trackers. The exit code is 7 if features or tracks differ from ours."""
    options = parse(argv)
    if not list(options.sequence.glob("camera*.mp4")):
        print(f"integrations-check: {options.sequence} has no cameraN.mp4; give --sequence", file=sys.stderr)
        return 2
    options.work.mkdir(parents=True, exist_ok=True)
    programs = sorted({CHECKS[name][1] for name in options.only})
    files = {program: exported(program, options) for program in programs}
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
    document = {
        "host": describe_host(device="cpu", threads=None),
        "command": "make integrations-check",
        "model": {
            "file": f"{options.model.parent.name}/{options.model.name}",
            "sha256": read_manifest(options.model)["sha256"],
        },
        "sequence": options.sequence.name,
        "vtest": video is not None,
        "crop_cost": {
            program: read_manifest(file)["neighbour"]["crop_cost"] for program, file in files.items()
        },
        "trackers": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    show(document)
    failures = failures_of(document)
    for failure in failures:
        print(f"integrations-check: {failure}")
    if video is None:
        print("integrations-check: vtest.avi of Debian's package opencv-doc cannot be had; skipped")
    return 7 if failures else 0


def exported(program: str, options: Options) -> Path:
    """Export the model for a program of --for, unless this was done before; return the ONNX file."""
    out = options.work / f"{options.model.parent.name}.{program}.onnx"
    source = read_manifest(options.model)["sha256"]
    if not (out.is_file() and read_manifest(out)["parent"] == source):
        words = [str(options.model), "--out", str(out), "--for", program]
        subprocess.run([sys.executable, "export_onnx.py", *words], cwd=ROOT, check=True, stdout=sys.stderr)
    return out


def run(name: str, module: str, request: dict, work: Path) -> dict:
    """Run `in_MODULE.py` in the environment `name`, and return its result."""
    python = python_of(name)
    job, out = work / f"{module}.job.json", work / f"{module}.out.json"
    job.write_text(json.dumps(request))
    out.unlink(missing_ok=True)
    words = [str(python), "-m", "tests.integrations_check.child", module, str(job), str(out)]
    subprocess.run(words, cwd=ROOT, check=True, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return json.loads(out.read_text())


def vtest() -> Path | None:
    """Return vtest.avi of Debian's package opencv-doc, which is downloaded but not installed; None where it cannot be had."""
    kept = FOLDER / "vtest.avi"
    for path in (VTEST, kept):
        if path.is_file():
            return path
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    folder = FOLDER / "opencv-doc"
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"stdout": sys.stderr, "stderr": sys.stderr}
    done = subprocess.run(["apt-get", "download", "opencv-doc"], cwd=folder, **quiet)
    packages = list(folder.glob("*.deb"))
    if done.returncode or not packages:
        return None
    subprocess.run(["dpkg-deb", "--extract", str(packages[0]), str(folder / "files")], check=True)
    found = list((folder / "files").rglob("vtest.avi"))
    if found:
        shutil.copyfile(found[0], kept)
    shutil.rmtree(folder)
    return kept if found else None


def same_tracks(tracks: dict[str, dict]) -> dict[str, bool] | None:
    """Return for each clip whether the tracker's own features and ours of the same pixels give the same tracks, where both ran."""
    if "own" not in tracks:
        return None
    return {clip: rows == tracks["fed"][clip] for clip, rows in tracks["own"].items()}


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
        for clip, same in (result.get("same_tracks") or {}).items():
            if not same:
                failures.append(f"{name}: other tracks than with our features on {clip}")
        if result.get("accepted_by_track") is False:
            failures.append(f"{name}: YOLO.track did not open the file")
    return failures


def show(document: dict) -> None:
    """Print the results as a table."""
    rows = []
    for name, result in document["trackers"].items():
        pixels = result.get("same_pixels") or result.get("carried") or {}
        same = result.get("same_tracks")
        idf1 = {
            key: f"{100 * score['idf1']:.1f} / {score['switches']}"
            for key, score in result.get("identity", {}).items()
        }
        cosine = f"{pixels['lowest_cosine']:.7f}" if pixels else "-"
        tracks = "-" if same is None else f"{sum(same.values())} of {len(same)} clips"
        rows.append([name, result["versions"][name], cosine, tracks, *(idf1.get(key, "-") for key in SHOWN)])
    title = f"IDF1 in % / identity switches on {document['sequence']} (synthetic)"
    print_table(title, ["tracker", "version", "lowest cosine", "same tracks", *SHOWN.values()], rows)
    for name, result in document["trackers"].items():
        if speed := result.get("speed"):
            print(
                f"{name}: {1000 / speed['own_ms']:.1f} frames/s on its own way, {1000 / speed['ours_ms']:.1f} on ours, "
                f"{speed['ratio']:.2f} times as fast, with {speed['people']:.1f} people a frame"
            )
        found = result.get("retrieval", {})
        if "reason" in found:
            print(f"{name}: the mAP between cameras was not measured: {found['reason']}")
        elif found:
            print(
                f"{name}: mAP between cameras {100 * found['tracker']:.1f} % with its crops, {100 * found['ours']:.1f} % with ours, "
                f"{100 * found['estimate']:.1f} % as the export estimates its crops"
            )


SHOWN = {"own": "its own crops", "ours": "our crops", "none": "no features"}

if __name__ == "__main__":
    raise SystemExit(main())
