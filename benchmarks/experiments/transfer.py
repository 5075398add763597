"""How a model does on people and cameras it never saw: `python -m benchmarks.experiments.transfer MODEL --data ROOT`.

Two cameras, every picture of the first against every picture of the second, with the whole folder's people or a part
of them. Beside the plain scores stand those after each camera's mean feature was taken away, which needs pictures of
that camera but no labels. Any runnable artifact; a model.safetensors is run by torch.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.experiments.transfer"))

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.unfinished import printed
from runtime.artifact import Artifact
from runtime.console import note, print_json, print_table
from runtime.datasets import READERS, Dataset, Item, read_dataset
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError
from runtime.extraction.extract import extract
from runtime.features import Features
from runtime.opening import open_artifact
from runtime.ranking.metrics import evaluate

SPLITS = {"train": ("train",), "test": ("query", "gallery"), "all": ("train", "query", "gallery")}
SHOWN = ("mAP", "R1", "R5", "R10")


def pictures(dataset: Dataset, split: str) -> tuple[Item, ...]:
    """Every picture of `split`: train, test (query and gallery) or all."""
    return tuple(item for part in SPLITS[split] for item in getattr(dataset, part))


def centred(features: NDArray[np.float32], camids: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, D) features minus the mean of their camera's, each of length 1 again."""
    out = np.array(features, np.float32)
    for camera in np.unique(camids):
        out[camids == camera] -= out[camids == camera].mean(axis=0)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(length, 1e-12), np.float32)


def interval(
    found: Features, query: int, gallery: int, *, draws: int = 500, seed: int = 0
) -> dict[str, list[float]]:
    """95 % intervals of R1 and mAP by drawing people with replacement (their pictures go and come together).

    Each drawn person's queries are scored against the whole gallery, as measured; only the mean over people varies.
    """
    people = np.unique(found.pids)
    each = [_scores(found, found.features, query, gallery, only=int(pid)) for pid in people]
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(people), (draws, len(people)))
    out = {}
    for name in ("R1", "mAP"):
        values = np.array([scores[name] for scores in each])[chosen].mean(axis=1)
        out[name] = [float(value) for value in np.percentile(values, (2.5, 97.5))]
    return out


def _scores(
    found: Features,
    features: NDArray[np.float32],
    query: int,
    gallery: int,
    *,
    only: int | None = None,
) -> dict[str, Any]:
    asked = found.camids == query if only is None else (found.camids == query) & (found.pids == only)
    shown = found.camids == gallery
    sides = [(features[part], found.pids[part], found.camids[part]) for part in (asked, shown)]
    return evaluate(*sides[0], *sides[1]).to_json()


def transfer(
    artifact: Artifact, items: Sequence[Item], *, query: int = 0, gallery: int = 1, batch: int = 32
) -> dict[str, Any]:
    """{people, queries, gallery, plain, camera_mean_subtracted, interval_95} of camera `query` against `gallery` (0-based).

    The model's own camera rows mean nothing here: its mean camera is used. ConfigError when a camera has no pictures.
    """
    items = [item for item in items if item.camid in (query, gallery)]
    ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=_mean(artifact))
    found = extract(artifact, items, batch=artifact.spec.batch or batch, camera_ids=ids)
    for camera in (query, gallery):
        if not (found.camids == camera).any():
            raise ConfigError(f"no pictures of camera {camera}; choose --query-camera and --gallery-camera")
    return {
        "people": len(np.unique(found.pids)),
        "queries": int((found.camids == query).sum()),
        "gallery": int((found.camids == gallery).sum()),
        "plain": _scores(found, found.features, query, gallery),
        "camera_mean_subtracted": _scores(found, centred(found.features, found.camids), query, gallery),
        "interval_95": interval(found, query, gallery),
    }


def _mean(artifact: Artifact) -> str | None:
    return "mean" if artifact.spec.camera == "input" else None


def opened(path: str) -> Artifact:
    """The model at `path`; a model.safetensors through torch."""
    if Path(path).suffix == ".safetensors":
        from prune.session import open_model

        return open_model(path)[0]
    return open_artifact(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Score MODEL on people and cameras it never saw, camera against camera."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.transfer", description=main.__doc__
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's own folder")
    parser.add_argument("--layout", choices=sorted(READERS))
    parser.add_argument("--split", choices=sorted(SPLITS), default="all", help="which people (all)")
    parser.add_argument("--query-camera", type=int, default=0, metavar="ID", help="0-based (0)")
    parser.add_argument("--gallery-camera", type=int, default=1, metavar="ID", help="0-based (1)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    items = pictures(read_dataset(args.data, args.layout), args.split)
    rows: list[list[object]] = []
    results: list[dict[str, Any]] = []
    with printed(lambda: {"models": results} if results else None):
        for path in args.models:
            result = transfer(opened(path), items, query=args.query_camera, gallery=args.gallery_camera)
            results.append({"model": path, "split": args.split} | result)
            for kind in ("plain", "camera_mean_subtracted"):
                rows.append([path, kind.replace("_", " "), *(f"{result[kind][name]:.1%}" for name in SHOWN)])
    if args.json:
        print_json({"models": results})
        return 0
    first = results[0]
    note(f"{first['people']} people, {first['queries']} queries, {first['gallery']} gallery pictures")
    print_table(f"zero-shot, {args.split}", ["model", "features", *SHOWN], rows)
    return 0
