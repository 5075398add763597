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
    """Return all images of `dataset` that belong to `split`: "train", "test" (query and gallery) or "all"."""
    return tuple(item for part in SPLITS[split] for item in getattr(dataset, part))


def centred(features: NDArray[np.float32], camids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Subtract from each feature (N, D) the mean feature of its camera, and return the results, normalised to length 1.

    `camids` (N,) are the cameras of the features.
    """
    out = np.array(features, np.float32)
    for camera in np.unique(camids):
        out[camids == camera] -= out[camids == camera].mean(axis=0)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(length, 1e-12), np.float32)


def per_person(features: Features, query: int, gallery: int) -> dict[str, list[float]]:
    """Return {R1, mAP}, each with one score (0..1) per person, in ascending order of the person ids.

    The queries are the images of camera `query`, and the gallery those of camera `gallery`. The score of a
    person is the mean over the queries of this person, each ranked against the whole gallery.
    """
    each = [
        _scores(features, features.features, query, gallery, only=int(pid))
        for pid in np.unique(features.pids)
    ]
    return {name: [float(scores[name]) for scores in each] for name in ("R1", "mAP")}


def interval(scores: dict[str, list[float]], *, draws: int = 500, seed: int = 0) -> dict[str, list[float]]:
    """Return the 95 % interval [low, high] of the mean of every list of `scores`, by a bootstrap over people.

    `scores` is a result of `per_person`, or the difference of two. As many people as there are in the data set are drawn with
    replacement, and their scores averaged. This is repeated `draws` times with a random generator of the seed `seed`.
    """
    people = len(next(iter(scores.values())))
    chosen = np.random.default_rng(seed).integers(0, people, (draws, people))
    out = {}
    for name, values in scores.items():
        means = np.array(values)[chosen].mean(axis=1)
        out[name] = [float(value) for value in np.percentile(means, (2.5, 97.5))]
    return out


def difference(first: dict[str, Any], other: dict[str, Any]) -> dict[str, list[float]]:
    """Return {R1, mAP}, each with the 95 % interval [low, high] of the mean over people of `other` minus `first`.

    Both arguments are results of `transfer` on the same people, of which the scores `per_person` are used.
    """
    pairs = {name: zip(other["per_person"][name], values) for name, values in first["per_person"].items()}
    return interval({name: [high - low for high, low in pair] for name, pair in pairs.items()})


def _scores(
    images: Features,
    features: NDArray[np.float32],
    query: int,
    gallery: int,
    *,
    only: int | None = None,
) -> dict[str, Any]:
    is_query = images.camids == query
    if only is not None:
        is_query &= images.pids == only
    is_gallery = images.camids == gallery
    sides = [(features[rows], images.pids[rows], images.camids[rows]) for rows in (is_query, is_gallery)]
    return evaluate(*sides[0], *sides[1]).to_json()


def transfer(
    artifact: Artifact, items: Sequence[Item], *, query: int = 0, gallery: int = 1, batch: int = 32
) -> dict[str, Any]:
    """Score a model with the images of camera `query` as queries and those of camera `gallery` as the gallery (0-based ids).

    Returns {people, queries, gallery, plain, camera_mean_subtracted, per_person, interval_95}. The first three are counts. `plain`
    has the scores of the unchanged features, and `camera_mean_subtracted` those of the features that `centred` returns. `per_person`
    and `interval_95` are the results of the functions `per_person` and `interval`, for the unchanged features.

    `batch` is the number of images in each call, if the model does not fix it. The model uses its mean camera embedding, because it
    was not trained on these cameras. Raises ConfigError if a camera has no images.
    """
    items = [item for item in items if item.camid in (query, gallery)]
    ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=_mean(artifact))
    images = extract(artifact, items, batch=artifact.spec.batch or batch, camera_ids=ids)
    for camera in (query, gallery):
        if not (images.camids == camera).any():
            raise ConfigError(
                f"the data set has no image of camera {camera}; choose other 0-based camera ids with --query-camera and "
                "--gallery-camera"
            )
    scores = per_person(images, query, gallery)
    return {
        "people": len(np.unique(images.pids)),
        "queries": int((images.camids == query).sum()),
        "gallery": int((images.camids == gallery).sum()),
        "plain": _scores(images, images.features, query, gallery),
        "camera_mean_subtracted": _scores(images, centred(images.features, images.camids), query, gallery),
        "per_person": scores,
        "interval_95": interval(scores),
    }


def _mean(artifact: Artifact) -> str | None:
    return "mean" if artifact.spec.camera == "input" else None


def opened(path: str) -> Artifact:
    """Open the model at `path` and return it. A .safetensors file runs in torch, and any other file on its default backend."""
    if Path(path).suffix == ".safetensors":
        from prune.session import open_torch_model

        return open_torch_model(path)[0]
    return open_artifact(path)
