"""The foreign ONNX files that are adopted, what their inputs truly are, and the mAP of the originals.

The mAP of an original is measured without the code that adopts it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.steps import ROOT
from benchmarks.steps import run as run_step
from runtime.datasets import guess_layout, read_dataset
from runtime.spec import InputSpec

DATA = "data/anny_reid"
SCORES = ("mAP", "R1")
IMAGENET, HALF = "0.485,0.456,0.406", "0.5"
NEAR_HALF = ["--range", "1", "--mean", HALF, "--std", HALF]
NEAR_IMAGENET = ["--range", "1", "--mean", IMAGENET, "--std", "0.229,0.224,0.225"]
PIXELS_255 = ["--range", "255", "--mean", "0", "--std", "1"]


@dataclass(frozen=True)
class Network:
    """A foreign file: its `name`, its path (None: the export of this project is made), and what is stated about its input.

    `spec` and `color` are the true input, for the score of the original. `right` states it in options of `export adopt`, and `wrong`
    maps the kind of a mistake to options that make it.
    """

    name: str
    path: Path | None
    spec: InputSpec
    color: str
    right: list[str]
    wrong: dict[str, list[str]]


def _spec(mean: Sequence[float], std: Sequence[float], interpolation: str) -> InputSpec:
    first, second = ((float(a), float(b), float(c)) for a, b, c in (mean, std))
    return InputSpec(128, 64, "float-nchw", mean=first, std=second, interpolation=interpolation)


NETWORKS = (
    Network(
        "osnet_like",
        ROOT / "tests/data/adopt/osnet_like.onnx",
        _spec((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear"),
        "rgb",
        ["--like", "osnet"],
        {
            "colour order": ["--like", "osnet", "--color", "bgr"],
            "mean and std 0.5": ["--like", "osnet", *NEAR_HALF],
            "pixels 0..255": ["--like", "osnet", *PIXELS_255],
        },
    ),
    Network(
        "resnet_like",
        ROOT / "tests/data/adopt/resnet_like.onnx",
        _spec((0, 0, 0), (1 / 255,) * 3, "bilinear"),
        "bgr",
        ["--like", "omz"],
        {
            "colour order": ["--like", "omz", "--color", "rgb"],
            "ImageNet's mean and std": ["--like", "omz", *NEAR_IMAGENET],
        },
    ),
    Network(
        "own_export",
        None,
        _spec((0.5,) * 3, (0.5,) * 3, "bicubic"),
        "rgb",
        ["--color", "rgb", "--mean", HALF, "--std", HALF, "--interpolation", "bicubic"],
        {
            "colour order": ["--color", "bgr", "--mean", HALF, "--std", HALF, "--interpolation", "bicubic"],
            "ImageNet's mean and std": ["--color", "rgb", *NEAR_IMAGENET, "--interpolation", "bicubic"],
            "pixels 0..255": ["--color", "rgb", *PIXELS_255, "--interpolation", "bicubic"],
        },
    ),
)


def original(network: Network, work: Path) -> Path:
    """Return the path of the foreign file. The project's own export is made below `work` and loses its manifest and check crops."""
    if network.path is not None:
        return network.path
    folder, path = work / "own", work / f"{network.name}.onnx"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        export = ["export_onnx.py", "data/hybrid_lite/model.safetensors", "--out", str(folder / path.name)]
        run_step([*export, "--input", "float-nchw", "--camera", "mean"])
        shutil.copyfile(folder / path.name, path)
    return path


def score_original(network: Network, path: Path, root: str) -> dict[str, float]:
    """Return the mAP and R1 (0..1) of the foreign file at `path` on the data set at `root`, fed as its own project feeds it."""
    import numpy as np

    from runtime.backends.onnxruntime import open_graph
    from runtime.images.decode import load_image
    from runtime.images.preprocess import resize, to_input
    from runtime.ranking.metrics import evaluate

    graph, dataset = open_graph(path), read_dataset(root, guess_layout(root))

    def side(items: Sequence[Any]) -> tuple[Any, ...]:
        parts = []
        for at in range(0, len(items), 32):
            crops = np.stack([resize(load_image(item.path), network.spec) for item in items[at : at + 32]])
            values = to_input(crops, network.spec)
            parts.append(graph(np.ascontiguousarray(values[:, ::-1] if network.color == "bgr" else values)))
        features = np.concatenate(parts)
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        return features, np.array([item.pid for item in items]), np.array([item.camid for item in items])

    scores = evaluate(*side(dataset.query), *side(dataset.gallery)).to_json()
    return {name: scores[name] for name in SCORES}
