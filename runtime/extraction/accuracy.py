"""CMC and mAP of an opened model on a data set, as one call. Prints nothing but progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime import console
from runtime.artifact import Artifact
from runtime.datasets import Dataset, Item, count_warnings
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.extraction.extract import extract
from runtime.features import Features
from runtime.ranking.protocol import published_rule, score


def accuracy(
    artifact: Artifact, dataset: Dataset, *, camera: str | int | None = None, batch: int = 16
) -> dict[str, Any]:
    """{mAP, R1, R5, R10, mINP (0..1), queries, ...}; `camera` is the policy, None: the model's and data set's.

    DataError when more than 1 % of the images are unusable.
    """
    name = dataset_name(dataset.layout, count_warnings(dataset))

    def features(items: Sequence[Item], title: str) -> Features:
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, policy=camera, dataset=name)
        with console.progress(f"{artifact.path.name}: {title}", len(items)) as advance:
            size = artifact.spec.batch or batch
            return extract(artifact, items, batch=size, camera_ids=ids, progress=advance)

    query, gallery = features(dataset.query, "query"), features(dataset.gallery, "gallery")
    return score(query, gallery, same_camera=published_rule(dataset.layout)).to_json()
