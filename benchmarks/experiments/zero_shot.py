"""Score a model on people and cameras unseen in training, with queries of one camera and a gallery of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.options import SPLITS
from runtime.artifact import Artifact
from runtime.datasets import Dataset, Item
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError
from runtime.extraction.extract import extract
from runtime.features import Features
from runtime.opening import open_artifact
from runtime.ranking.metrics import evaluate


def pictures(dataset: Dataset, split: str) -> tuple[Item, ...]:
    """Return every image of `split`: train, test (query and gallery) or all."""
    return tuple(item for part in SPLITS[split] for item in getattr(dataset, part))


def centred(features: NDArray[np.float32], camids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the features (N, D) minus the mean feature of their camera, normalised to length 1 again."""
    out = np.array(features, np.float32)
    for camera in np.unique(camids):
        out[camids == camera] -= out[camids == camera].mean(axis=0)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(length, 1e-12), np.float32)


def interval(
    found: Features, query: int, gallery: int, *, draws: int = 500, seed: int = 0
) -> dict[str, list[float]]:
    """Return 95 % intervals of R1 and mAP by drawing people with replacement; all images of a person are drawn together.

    The queries of a drawn person are scored against the whole gallery, so only the mean over people varies.
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
    """Return {people, queries, gallery, plain, camera_mean_subtracted, interval_95} of camera `query` against `gallery` (0-based).

    The mean camera embedding is used, because the model's cameras are others. ConfigError if a camera has no images.
    """
    items = [item for item in items if item.camid in (query, gallery)]
    ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=_mean(artifact))
    found = extract(artifact, items, batch=artifact.spec.batch or batch, camera_ids=ids)
    for camera in (query, gallery):
        if not (found.camids == camera).any():
            raise ConfigError(f"no images of camera {camera}; choose --query-camera and --gallery-camera")
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
    """Open the model at `path`; torch runs a model.safetensors."""
    if Path(path).suffix == ".safetensors":
        from prune.session import open_torch_model

        return open_torch_model(path)[0]
    return open_artifact(path)
