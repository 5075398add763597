"""The subcommands of `python -m runtime`: each takes parsed arguments and prints one result."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console, metrics
from runtime.cameras import camera_ids, dataset_name, parse_policy, resolve_policy
from runtime.choice import unproven
from runtime.datasets import Dataset, Item, count_warnings, counts, read_dataset
from runtime.errors import ConfigError, Refusal
from runtime.extract import TooManyBad, duplicates, extract, leaks
from runtime.features import Features, load_features, same_model, save_features
from runtime.image_list import read_images
from runtime.rerank import rerank
from runtime.search import search
from runtime.session import Artifact, open_artifact
from runtime.skipped import write_skipped

SHOWN = 5
PERCENT = ("mAP", "R1", "R5", "R10", "mINP", "mAP_market_matlab")


def inspect(args: Namespace) -> None:
    """Print what a data set holds and what is odd about it."""
    dataset = read_dataset(args.root, args.layout, max_bad=args.max_bad)
    warnings = count_warnings(dataset)
    splits = counts(dataset)
    _complain(dataset, warnings)
    if args.json:
        document = {"layout": dataset.layout, "splits": splits, "skipped": len(dataset.skipped)}
        console.print_json(document | {"warnings": [console.printable(text) for text in warnings]})
        return
    rows = [[name, *split.values()] for name, split in splits.items()]
    console.print_table(dataset.layout, ["split", "images", "identities", "cameras"], rows)


def extract_features(args: Namespace) -> None:
    """Write the features of a folder or list of images; those of usable images also when too many are not."""
    artifact = _open(args)
    out = Path(args.out)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are an .npz file; try {out.with_suffix('.npz')}")
    items = read_images(args.images)
    dataset = _surrounding(args.images)
    layout = dataset.layout if dataset else None
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    try:
        (features,) = _features(artifact, {"extract": items}, args, dataset=name)
    except TooManyBad as error:
        if error.features.paths:
            save_features(out, replace(error.features, layout=layout))
        write_skipped(out, error.features.skipped)
        raise
    save_features(out, replace(features, layout=layout))
    listed = write_skipped(out, features.skipped)
    if listed:
        console.note(f"{len(features.skipped)} images skipped, see {listed}")
    if copies := duplicates(features):
        console.note(f"{copies} images are copies of others, byte for byte")
    result = {
        "out": os.fspath(out),
        "images": len(features.paths),
        "skipped": len(features.skipped),
        "duplicates": copies,
        "dim": artifact.dim,
        "camera": features.camera,
        "engine": features.engine,
        "model": artifact.sha256,
    }
    _print_result("features", result, as_json=args.json)


def evaluate(args: Namespace, *, opener: Callable[[Namespace], Artifact] | None = None) -> None:
    """Print mAP, CMC and mINP of a model on a data set, or of two feature files.

    `opener` opens `args.model` where that is no file the runtime knows (the torch model of `prune.evaluate`).
    """
    query, gallery, context = _saved_pair(args) if args.model is None else _fresh_pair(args, opener or _open)
    same_model(query, gallery)
    if query.camera != gallery.camera:
        console.note(f"query and gallery differ in their camera embedding: {query.camera}, {gallery.camera}")
    _compare_engines(query, gallery)
    for text, copies in (
        (
            "query images are also in the gallery, byte for byte: the result is too good",
            leaks(query, gallery),
        ),
        ("gallery images are copies of others, byte for byte", duplicates(gallery)),
    ):
        if copies:
            console.note(f"{copies} {text}")
    identities = (query.pids, query.camids, gallery.pids, gallery.camids)
    if args.rerank:
        rows = rerank(query.features, gallery.features)
        scores = metrics.evaluate_distances(rows, *identities)
    else:
        scores = metrics.evaluate(
            query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids
        )
    found = scores.to_json() | {"rerank": args.rerank, "camera": query.camera, "gallery": len(gallery.paths)}
    skipped = [*query.skipped, *gallery.skipped]
    found |= {"skipped": len(skipped), "engine": query.engine, "model": query.model} | context
    if args.json:
        reasons = [{"path": image.path, "reason": image.reason} for image in skipped]
        console.print_json(found | {"skipped_images": reasons})
        return
    shown = {key: f"{100 * value:.2f} %" if key in PERCENT else value for key, value in found.items()}
    _print_result("evaluation", shown, as_json=False)


def search_gallery(args: Namespace) -> None:
    """Print the nearest gallery images of each query image."""
    if args.top < 1:
        raise ConfigError(f"--top {args.top}: give 1 or more")
    gallery = load_features(args.gallery)
    artifact = _open(args)
    items = [item for source in args.queries for item in read_images(source)]
    if args.camera is None and artifact.spec.camera == "input":
        # as the gallery was seen: features under two camera policies do not compare
        args.camera = parse_policy(gallery.camera)
    (query,) = _features(artifact, {"query": items}, args, dataset=None)
    same_model(query, gallery)
    _compare_engines(query, gallery)
    indices, distances = search(query.features, gallery.features, top=args.top)
    matches = [
        [
            _match(gallery, rank, int(index), float(distance))
            for rank, (index, distance) in enumerate(zip(*row), 1)
        ]
        for row in zip(indices, distances)
    ]
    if args.json:
        found = [{"path": path, "matches": hits} for path, hits in zip(query.paths, matches)]
        document = {"gallery": args.gallery, "model": gallery.model, "skipped": len(query.skipped)}
        console.print_json(document | {"queries": found})
        return
    for path, hits in zip(query.paths, matches):
        console.print_table(path, list(hits[0]), [list(hit.values()) for hit in hits])


def _open(args: Namespace) -> Artifact:
    artifact = open_artifact(
        args.model,
        device=args.device,
        threads=args.threads,
        allow_ungated=args.allow_ungated,
        engine=args.engine,
    )
    if doubt := unproven(args.model, artifact.sha256, artifact.engine):
        console.note(f"WARNING {doubt}")
    return artifact


def _features(
    artifact: Artifact, splits: Mapping[str, Sequence[Item]], args: Namespace, *, dataset: str | None
) -> list[Features]:
    """The features of each split, with the camera policy that args and the data set call for."""
    chosen = {
        name: camera_ids([item.camid for item in items], artifact.spec, policy=args.camera, dataset=dataset)
        for name, items in splits.items()
    }
    for remark in dict.fromkeys(remark for _, remark in chosen.values() if remark):
        console.note(remark)
    camera = str(resolve_policy(artifact.spec, policy=args.camera, dataset=dataset))
    return [_extract(artifact, name, items, chosen[name][0], args, camera) for name, items in splits.items()]


def _extract(
    artifact: Artifact,
    title: str,
    items: Sequence[Item],
    ids: NDArray[np.int64] | None,
    args: Namespace,
    camera: str,
) -> Features:
    try:
        with console.progress(title, len(items)) as advance:
            features = extract(
                artifact,
                items,
                batch=args.batch or artifact.spec.batch or 16,
                workers=args.workers,
                camera_ids=ids,
                max_bad=args.max_bad,
                progress=advance,
            )
    except TooManyBad as error:
        found = replace(error.features, camera=camera, engine=artifact.engine)
        raise TooManyBad(str(error), found) from None
    _tell([f"{skipped.path}: {skipped.reason}" for skipped in features.skipped])
    for text in features.notes:
        console.note(text)
    return replace(features, camera=camera, engine=artifact.engine)


def _fresh_pair(
    args: Namespace, opener: Callable[[Namespace], Artifact]
) -> tuple[Features, Features, dict[str, Any]]:
    if args.data is None or args.query is not None or args.gallery is not None:
        raise ConfigError("evaluate MODEL needs --data ROOT; to compare saved features leave MODEL out")
    dataset = read_dataset(args.data, args.layout, max_bad=args.max_bad)
    warnings = count_warnings(dataset)
    _complain(dataset, warnings)
    artifact = opener(args)
    name = dataset_name(dataset.layout, warnings)
    splits = {"query": dataset.query, "gallery": dataset.gallery}
    query, gallery = _features(artifact, splits, args, dataset=name)
    return query, gallery, {"layout": dataset.layout, "badly_named": len(dataset.skipped)}


def _saved_pair(args: Namespace) -> tuple[Features, Features, dict[str, Any]]:
    if args.query is None or args.gallery is None or args.data is not None:
        raise ConfigError("evaluate needs MODEL --data ROOT, or --query q.npz --gallery g.npz")
    if args.camera is not None:
        raise ConfigError("--camera has no effect on saved features; give it to extract")
    query, gallery = load_features(args.query), load_features(args.gallery)
    return query, gallery, {"layout": gallery.layout}


def _compare_engines(query: Features, gallery: Features) -> None:
    if query.engine != gallery.engine:
        names = ", ".join(one.engine or "not recorded" for one in (query, gallery))
        console.note(f"query and gallery come from different engines, which round differently: {names}")


def _surrounding(images: str) -> Dataset | None:
    """The data set whose query or gallery folder `images` is, or None."""
    folder = os.path.abspath(images)
    try:
        return read_dataset(os.path.dirname(folder)) if os.path.isdir(folder) else None
    except Refusal:
        return None


def _complain(dataset: Dataset, warnings: list[str]) -> None:
    for text in warnings:
        console.note(text)
    _tell([reason for _, reason in dataset.skipped])


def _tell(skipped: list[str]) -> None:
    for text in skipped[:SHOWN]:
        console.note(f"skipped {text}")
    if len(skipped) > SHOWN:
        console.note(f"... and {len(skipped) - SHOWN} more")


def _match(gallery: Features, rank: int, index: int, distance: float) -> dict[str, Any]:
    return {
        "rank": rank,
        "path": gallery.paths[index],
        "pid": int(gallery.pids[index]),
        "camid": int(gallery.camids[index]),
        "distance": distance,
    }


def _print_result(title: str, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.print_json(result)
    else:
        console.print_table(title, ["", "value"], list(result.items()))
