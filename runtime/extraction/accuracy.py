"""Evaluate an opened model on a data set. Prints only the progress."""

from __future__ import annotations

from functools import partial
from typing import Any

from runtime.artifact import Artifact
from runtime.console import progress
from runtime.datasets import Dataset, Item
from runtime.extraction.camera import extract_with_policy
from runtime.extraction.extract import extract
from runtime.features import Features
from runtime.images.sources import Images
from runtime.ranking.protocol import published_rule, score


def accuracy(
    artifact: Artifact, dataset: Dataset, *, camera: str | int | None = None, batch: int = 16
) -> dict[str, Any]:
    """Return the scores of the model on the data set, as the dict of `runtime.ranking.metrics.Metrics.to_json`.

    The scores mAP, R1, R5, R10, mINP and mAP_market_matlab are in 0..1; the last is mAP by the trapezoid rule of Market-1501's MATLAB
    code. `queries` is the number of all queries. `queries_without_match` is the number of queries that are not scored, because no
    image in their ranking shows their person. `ties` is the number of matches at the same distance as an image of another person.

    `camera` is a camera policy ("input", "mean", "none" or a camera id); None chooses the default for the model and the data set.
    `batch` is the number of images per run, unless the model has a fixed batch. Raises DataError when more than 1 % of the images
    are unusable.
    """
    query, gallery = dataset_features(artifact, dataset, camera=camera, batch=batch)
    return score(query, gallery, same_camera=published_rule(dataset.layout)).to_json()


def dataset_features(
    artifact: Artifact, dataset: Dataset, *, camera: str | int | None = None, batch: int = 16
) -> tuple[Features, Features]:
    """Return the features of the queries and of the gallery of the data set. The parameters and errors are those of `accuracy`."""
    extract_items = partial(extract, artifact, batch=artifact.spec.batch or batch)

    def features(items: tuple[Item, ...], title: str) -> Features:
        with progress(f"{artifact.path.name}: {title}", len(items)) as advance:
            images = Images(items, dataset=dataset)
            return extract_with_policy(extract_items, artifact, images, policy=camera, progress=advance)

    return features(dataset.query, "query"), features(dataset.gallery, "gallery")
