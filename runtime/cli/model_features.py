"""Open a model, and extract the features of images with it; warnings and progress go to stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console
from runtime.artifact import Artifact
from runtime.cli.arguments import ModelOptions, RunOptions
from runtime.cli.notes import print_notes, print_skipped
from runtime.datasets import Item
from runtime.datasets.cameras import camera_ids, resolve_policy
from runtime.extraction.extract import TooManyBad, Unfinished
from runtime.extraction.preset import Extract
from runtime.features import PARTIAL, Features, load_features
from runtime.files.manifest import read_manifest
from runtime.gate_here import doubt
from runtime.opening import open_artifact, verify_artifact


def open_model(options: ModelOptions, *, load: bool = True) -> Artifact:
    """The model's artifact; without `load` it is verified only."""
    checks: dict[str, Any] = {
        "device": options.device,
        "allow_ungated": options.allow_ungated,
        "engine": options.backend,
    }
    if load:
        artifact = open_artifact(options.path, threads=options.threads, **checks)
    else:
        artifact = verify_artifact(options.path, **checks)
    if (remark := doubt(artifact)) is not None:
        console.note(f"WARNING {remark}")
    return artifact


def saved_features(path: str, *, allow_partial: bool) -> Features:
    """The features saved at `path`; those of a stopped extraction only with `allow_partial`, after a warning."""
    if allow_partial and read_manifest(path).get("kind") == PARTIAL:
        console.note(
            f"WARNING {path}: of a stopped extraction; what is computed with it holds for its images only"
        )
    return load_features(path, partial=allow_partial)


def features_of(
    artifact: Artifact,
    splits: Mapping[str, Sequence[Item]],
    options: RunOptions,
    run: Extract,
    *,
    dataset: str | None,
) -> list[Features]:
    """The features of each split, with the camera policy that the options and the data set call for."""
    policy = options.camera
    chosen = {
        name: camera_ids([item.camid for item in items], artifact.spec, policy=policy, dataset=dataset)
        for name, items in splits.items()
    }
    print_notes(dict.fromkeys(remark for _, remark in chosen.values() if remark))
    camera = str(resolve_policy(artifact.spec, policy=policy, dataset=dataset))
    origin: dict[str, Any] = {"camera": camera, "engine": artifact.engine}
    features = []
    for name, items in splits.items():
        try:
            extracted = _extract(run, name, items, chosen[name][0], options.max_bad)
        except TooManyBad as error:
            # more may be allowed, but not that nothing is left
            more = ", or raise --max-bad" if error.features.paths else ""
            raise TooManyBad(f"{error}{more}", replace(error.features, **origin)) from None
        except Unfinished as stop:
            raise Unfinished(stop.number, replace(stop.features, **origin), stop.asked) from None
        print_skipped([f"{skipped.path}: {skipped.reason}" for skipped in extracted.skipped])
        print_notes(extracted.notes)
        features.append(replace(extracted, **origin))
    return features


def _extract(
    run: Extract, title: str, items: Sequence[Item], ids: NDArray[np.int64] | None, max_bad: float
) -> Features:
    with console.progress(title, len(items)) as advance:
        return run(items, camera_ids=ids, max_bad=max_bad, progress=advance)


def compare_backends(query: Features, gallery: Features) -> None:
    """Print a note when two backends made the features that are ranked together."""
    if query.engine != gallery.engine:
        names = ", ".join(side.engine or "not recorded" for side in (query, gallery))
        console.note(f"query and gallery come from different engines, which round differently: {names}")
