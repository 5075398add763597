"""Measure adding images with a model, and compare runs that were killed and resumed with one that was not, bit for bit."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from runtime import load_features
from runtime.gallery.api import open_gallery


@dataclass(frozen=True)
class Resumed:
    """A run of one `command` without a stop, and one that was killed and resumed.

    The first took `whole_s` seconds for `images` images. The second was killed `stops` times with SIGKILL. `differing` features of the
    two differ in at least one bit.
    """

    command: str
    images: int
    whole_s: float
    images_per_s: float
    stops: int
    differing: int


def measure_resume(folder: Path, model: Path, images: Path, *, stops: int) -> list[Resumed]:
    """Run `extract` and `gallery add` whole, and again with `stops` kills at random times."""
    results = []
    for name in ("extract", "gallery add"):
        whole, parts = (folder / f"{name.split()[-1]}-{kind}" for kind in ("whole", "parts"))
        began = time.perf_counter()
        subprocess.run(_words(name, model, images, whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        random, killed = Random(0), 0
        for _ in range(stops):
            process = subprocess.Popen(_words(name, model, images, parts), stdout=subprocess.DEVNULL)
            try:
                process.wait(random.uniform(0.3, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
        subprocess.run(_words(name, model, images, parts), check=True, stdout=subprocess.DEVNULL)
        right, other = _features(name, whole), _features(name, parts)
        differing = sum(not np.array_equal(right[key], other.get(key, ())) for key in right)
        differing += len(set(other) - set(right))
        results.append(Resumed(name, len(right), seconds, len(right) / seconds, killed, differing))
    return results


def _words(name: str, model: Path, images: Path, out: Path) -> list[str]:
    place = ["--store", str(out)] if name == "gallery add" else ["--out", f"{out}.npz"]
    return [sys.executable, "-m", "runtime", *name.split(), str(model), str(images), *place, "--json"]


def _features(name: str, out: Path) -> dict[str, np.ndarray]:
    """Return {path: feature}."""
    if name == "extract":
        features = load_features(Path(f"{out}.npz"))
        return dict(zip(features.paths, features.features))
    with open_gallery(out) as store:
        rows, array = store.rows(store.ids())
    return {row.path: feature for row, feature in zip(rows, array)}
