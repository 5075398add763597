"""Measure the mAP that each tracker's own crops cost, with the paired interval over people. Runs in the project's environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.stats.precisions import average_precisions
from export.adopting.comparison import paired_gain
from export.integrations.crop_cost import HEIGHT, both_sides
from runtime import open_model
from runtime.datasets import Dataset, guess_layout, read_dataset


def crop_costs(files: Mapping[str, Path], data: Path, other: Path | None) -> dict[str, dict]:
    """Return {name of a folder: {program: cost}} for the exported file of each program, on `data` and, if given, on `other`.

    On `data`, the queries search the gallery. On `other`, all images of the first camera search all of the second. A cost is
    {queries, gallery, people, height, ours, tracker, mixed, gain, low, high}: the first as in `export.integrations.crop_cost`, with
    mAPs in 0..1, and then `tracker` minus `ours` in points of mAP with its paired 95 % interval over people.
    """
    sets = {data.name: read_dataset(str(data), guess_layout(str(data)))}
    if other is not None:
        sets[other.name] = between_two_cameras(read_dataset(str(other), guess_layout(str(other))))
    return {
        name: {program: cost(program, file, dataset) for program, file in files.items()}
        for name, dataset in sets.items()
    }


def between_two_cameras(dataset: Dataset) -> Dataset:
    """Return the data set in which all images of the first camera are queries, and all of the second are the gallery."""
    items = (*dataset.train, *dataset.query, *dataset.gallery)
    first, second = sorted({item.camid for item in items})[:2]
    return dataclasses.replace(
        dataset,
        train=(),
        query=tuple(item for item in items if item.camid == first),
        gallery=tuple(item for item in items if item.camid == second),
    )


def cost(program: str, file: Path, dataset: Dataset) -> dict[str, float]:
    query, gallery = both_sides(program, file, open_model(file).artifact.spec, dataset)
    ours = average_precisions(query.ours, gallery.ours)
    tracker = average_precisions(query.tracker, gallery.tracker)
    gain, low, high = paired_gain(ours, tracker, query.ours.pids)
    return {
        "queries": len(query.ours.pids),
        "gallery": len(gallery.ours.pids),
        "people": len(np.unique(query.ours.pids)),
        "height": HEIGHT,
        "ours": float(ours.mean()),
        "tracker": float(tracker.mean()),
        "mixed": float(average_precisions(query.tracker, gallery.ours).mean()),
        "gain": gain,
        "low": low,
        "high": high,
    }
