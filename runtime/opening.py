"""Open a model and extract with it as a command line says, and say on stderr what is odd. Knows no subcommand."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console
from runtime.cameras import camera_ids, resolve_policy
from runtime.datasets import Item
from runtime.extract import TooManyBad, Unfinished
from runtime.features import PARTIAL, Features, load_features
from runtime.gate_here import doubt
from runtime.manifest import read_manifest
from runtime.preset import Extract
from runtime.session import Artifact, open_artifact, verify_artifact

SHOWN = 5


def open_model(args: Namespace, *, load: bool = True) -> Artifact:
    """The artifact of `args.model`; without `load` it is verified only."""
    how = {"device": args.device, "allow_ungated": args.allow_ungated, "engine": args.engine}
    if load:
        artifact = open_artifact(args.model, threads=args.threads, **how)
    else:
        artifact = verify_artifact(args.model, **how)
    if (remark := doubt(artifact)) is not None:
        console.note(f"WARNING {remark}")
    return artifact


def saved_features(path: str, args: Namespace) -> Features:
    """The features saved at `path`; those of a stopped extraction only with `args.allow_partial`, and said."""
    if args.allow_partial and read_manifest(path).get("kind") == PARTIAL:
        console.note(
            f"WARNING {path}: of a stopped extraction; what is computed with it holds for its images only"
        )
    return load_features(path, partial=args.allow_partial)


def features_of(
    artifact: Artifact,
    splits: Mapping[str, Sequence[Item]],
    args: Namespace,
    run: Extract,
    *,
    dataset: str | None,
) -> list[Features]:
    """The features of each split, with the camera policy that args and the data set call for."""
    chosen = {
        name: camera_ids([item.camid for item in items], artifact.spec, policy=args.camera, dataset=dataset)
        for name, items in splits.items()
    }
    for remark in dict.fromkeys(remark for _, remark in chosen.values() if remark):
        console.note(remark)
    camera = str(resolve_policy(artifact.spec, policy=args.camera, dataset=dataset))
    about = {"camera": camera, "engine": artifact.engine, "resize": args.resize}
    return [_extract(run, name, items, chosen[name][0], args, about) for name, items in splits.items()]


def _extract(
    run: Extract,
    title: str,
    items: Sequence[Item],
    ids: NDArray[np.int64] | None,
    args: Namespace,
    about: dict[str, Any],
) -> Features:
    try:
        with console.progress(title, len(items)) as advance:
            features = run(items, camera_ids=ids, max_bad=args.max_bad, progress=advance)
    except TooManyBad as error:
        # more may be allowed, but not that nothing is left
        more = ", or raise --max-bad" if error.features.paths else ""
        raise TooManyBad(f"{error}{more}", replace(error.features, **about)) from None
    except Unfinished as stop:
        raise Unfinished(stop.number, replace(stop.features, **about), stop.asked) from None
    tell([f"{skipped.path}: {skipped.reason}" for skipped in features.skipped])
    for text in features.notes:
        console.note(text)
    return replace(features, **about)


def tell_notes(notes: Iterable[str]) -> None:
    """Say each of them."""
    for text in notes:
        console.note(text)


def tell(skipped: list[str]) -> None:
    """Say the first few of them, and how many more there are."""
    for text in skipped[:SHOWN]:
        console.note(f"skipped {text}")
    if len(skipped) > SHOWN:
        console.note(f"... and {len(skipped) - SHOWN} more")


def compare_engines(query: Features, gallery: Features) -> None:
    """Say it when two engines made what is to be ranked together."""
    if query.engine != gallery.engine:
        names = ", ".join(one.engine or "not recorded" for one in (query, gallery))
        console.note(f"query and gallery come from different engines, which round differently: {names}")
