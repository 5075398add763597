"""Adopt a foreign file with the right input and with wrong ones, and report what `python -m export adopt` answers."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.experiments.adoption.networks import DATA, Network
from benchmarks.steps import ROOT
from runtime.console import note
from runtime.files.manifest import read_manifest
from runtime.stopping import run_apart

# The message of `export adopt` that refuses a worse input.
BETTER = re.compile(r"is ([\d.]+) %, ([\d.]+) points more .*\(95 % interval ([\d.]+) to ([\d.]+)\)")
CROPS_WITHOUT_LABELS = 64


def trial(path: Path, options: list[str], check: list[str], out: Path) -> dict[str, Any]:
    """Adopt the file at `path` as `out` with the input that `options` state, and return {exit_code} and the result of `outcome`.

    `check` has the words of the option --check, or none.
    """
    words = ["-m", "export", "adopt", str(path), "--out", str(out), *check, *options]
    note(f"python {shlex.join(words)}")
    code, text = run_apart([sys.executable, *words], cwd=ROOT, stderr=subprocess.STDOUT)
    comparison = read_manifest(out)["adopted"]["comparison"] if code == 0 else None
    return {"exit_code": code} | outcome(text, comparison)


def outcome(text: str, comparison: dict[str, Any] | None) -> dict[str, Any]:
    """Return {map, other_map, gain, low, high, nearly_equal, warned} from the output `text` of `export adopt`.

    `comparison` is that of the manifest, None if the command wrote no file or compared nothing. `map` is the mAP (0..1) with the
    stated input and `other_map` that of the best other input; `gain` is the difference in points, and `low` to `high` its 95 %
    interval. These five are None where nothing was compared. `nearly_equal` says that the file was refused because its features of
    different crops are nearly equal, and `warned` that a better input, or the lack of labels, gave a warning.
    """
    flat = " ".join(text.split())
    values: dict[str, float | None] = dict.fromkeys(("map", "other_map", "gain", "low", "high"))
    if comparison:
        stated, other = comparison["candidates"][:2]
        values = {"map": stated["mAP"], "other_map": other["mAP"]}
        values |= {key: other[key] for key in ("gain", "low", "high")}
    elif found := BETTER.search(flat):
        other_map, gain, low, high = (float(number) for number in found.groups())
        values = {"map": (other_map - gain) / 100, "other_map": other_map / 100}
        values |= {"gain": gain, "low": low, "high": high}
    return values | {"nearly_equal": "nearly equal" in flat, "warned": "WARNING" in flat}


def trials(network: Network, path: Path, work: Path) -> list[dict[str, Any]]:
    """Adopt with the right input and with each wrong one on labelled crops, and with the wrong colour order on other crops.

    Returns {case, check} and the result of `trial` for each. `check` is "labelled", "unlabelled" or "default" (without --check).
    """
    unlabelled = work / "crops_without_labels"
    if not unlabelled.exists():
        unlabelled.mkdir()
        images = sorted((ROOT / DATA / "bounding_box_test").iterdir())
        for number, image in enumerate(images[:: len(images) // CROPS_WITHOUT_LABELS]):
            shutil.copyfile(image, unlabelled / f"{number}{image.suffix}")
    checks = {"labelled": ["--check", DATA], "unlabelled": ["--check", str(unlabelled)], "default": []}
    cases = [
        (case, options, "labelled") for case, options in ({"right": network.right} | network.wrong).items()
    ]
    cases += [("colour order", network.wrong["colour order"], check) for check in ("unlabelled", "default")]
    results = []
    for case, options, check in cases:
        out = work / f"{network.name}.trial.onnx"
        results.append({"case": case, "check": check} | trial(path, options, checks[check], out))
        # The measured files are written by `files`.
        for left in work.glob(f"{out.name}*"):
            left.unlink()
    return results
