"""The subcommands of `python -m runtime`: each takes parsed arguments and prints one result."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime import console
from runtime.cameras import dataset_name
from runtime.datasets import Dataset, count_warnings, counts, read_dataset
from runtime.errors import ConfigError
from runtime.extract import TooManyBad, Unfinished, duplicates
from runtime.fast_resize import EXACT, FAST, opencv_version, resizer
from runtime.features import Features, partial_path, same_model, save_features
from runtime.image_list import labelled_images
from runtime.manifest import manifest_path
from runtime.metrics import Scored
from runtime.opening import compare_engines, features_of, open_model, saved_features, tell, tell_notes
from runtime.picture_file import evaluation_contents, picture_options, write_picture
from runtime.preset import THROUGHPUT, extractor, refuse_contradictions
from runtime.protocol import in_words as protocol_in_words
from runtime.protocol import known, leaks, published_rule, score
from runtime.ranking import WorstRankings
from runtime.resize_cost import KEYS, changed, difference, in_words, read_cost, write_cost
from runtime.session import Artifact
from runtime.skipped import Skipped, write_skipped
from runtime.stopping import Stopped
from runtime.wording import printable

PERCENT = ("mAP", "R1", "R5", "R10", "mINP", "mAP_market_matlab")
# What stands beside the scores of --resize fast, each with scores of its own.
BESIDE = ("exact", "difference")


def _unwatched(scored: Scored) -> None:
    pass


def inspect(args: Namespace) -> None:
    """Print what a data set holds and what is odd about it."""
    dataset = read_dataset(args.root, args.layout, max_bad=args.max_bad)
    warnings = count_warnings(dataset)
    splits = counts(dataset)
    _complain(dataset, warnings)
    if args.json:
        document = {"layout": dataset.layout, "splits": splits, "skipped": len(dataset.skipped)}
        document |= {"warnings": [printable(text) for text in warnings]}
        console.print_json(document | {"left_out": [printable(text) for text in dataset.left_out]})
        return
    rows = [[name, *split.values()] for name, split in splits.items()]
    console.print_table(dataset.layout, ["split", "images", "identities", "cameras"], rows)


def extract_features(args: Namespace) -> None:
    """Write the features of a folder or list of images; those of usable images also when too many are not."""
    refuse_contradictions(args.preset, device=args.device, batch=args.batch, threads=args.threads)
    # the processes of that preset open it themselves
    artifact = open_model(args, load=args.preset != THROUGHPUT)
    resize = resizer(args.resize)
    cost = read_cost(args.model, artifact.sha256) if args.resize == FAST else None
    if cost:
        console.note(in_words(cost))
    out = Path(args.out)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are an .npz file; try {out.with_suffix('.npz')}")
    images = labelled_images(args.images, args.layout)
    tell_notes(images.notes)
    items, dataset = images.items, images.dataset
    layout = dataset.layout if dataset else None
    name = dataset_name(dataset.layout, count_warnings(dataset)) if dataset else None
    how = {"batch": args.batch, "workers": args.workers, "resize": resize}
    try:
        with extractor(artifact, args.preset, **how, allow_ungated=args.allow_ungated) as run:
            (features,) = features_of(artifact, {"extract": items}, args, run, dataset=name)
    except TooManyBad as error:
        if error.features.paths:
            save_features(out, replace(error.features, layout=layout))
        write_skipped(out, error.features.skipped)
        raise
    except Unfinished as stop:
        kept = "nothing was done yet"
        if stop.features.paths:
            part = partial_path(out)
            save_features(part, replace(stop.features, layout=layout), asked=stop.asked)
            kept = f"{len(stop.features.paths)} of {stop.asked} images are in {part}; the same command extracts all of them anew"
        raise Stopped(stop.number, kept) from None
    save_features(out, replace(features, layout=layout))
    _remove(partial_path(out))
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
        "preset": args.preset,
        "resize": features.resize,
        "resize_difference": cost["difference"] if cost else None,
        "model": artifact.sha256,
    }
    _print_result("features", result, as_json=args.json)


def evaluate(args: Namespace, *, opener: Callable[[Namespace], Artifact] | None = None) -> None:
    """Print mAP, CMC and mINP of a model on a data set, or of two feature files.

    `opener` opens `args.model` where that is no file the runtime knows (the torch model of `prune.evaluate`).
    The picture of the worst queries, where one is asked for, is written after the scores are printed.
    """
    picture = picture_options(args)
    if args.model is None:
        query, gallery, context = _saved_pair(args)
    else:
        query, gallery, context = _fresh_pair(args, opener or open_model)
    # a cosine distance is 1 minus the cosine; re-ranked distances are what they are
    worst = WorstRankings(picture.queries, picture.top, offset=0 if args.rerank else 1) if picture else None
    skipped = [*query.skipped, *gallery.skipped]
    query, gallery = _known(query, gallery)
    rule = args.same_camera or published_rule(context["layout"])
    found = _scored(query, gallery, args, rule=rule, watch=worst.see if worst else _unwatched)
    found |= {"same_camera": rule, "protocol": protocol_in_words(rule, context["layout"])}
    found |= {"skipped": len(skipped), "engine": query.engine, "model": query.model} | context
    try:
        _print_scores(dict(found), skipped, as_json=args.json)
    finally:
        # also when the reader of stdout has gone away
        if picture and worst:
            contents = evaluation_contents(found, picture)
            write_picture(picture.path, contents, worst.rankings(), query=query, gallery=gallery)


def _print_scores(found: dict[str, Any], skipped: list[Skipped], *, as_json: bool) -> None:
    if as_json:
        reasons = [{"path": image.path, "reason": image.reason} for image in skipped]
        console.print_json(found | {"skipped_images": reasons})
        return
    flat = {f"{key} {name}": value for key in BESIDE for name, value in found.pop(key, {}).items()}
    shown = {
        key: f"{100 * value:.2f} %" if key.split()[-1] in PERCENT else value
        for key, value in (found | flat).items()
    }
    _print_result("evaluation", shown, as_json=False)


def _known(query: Features, gallery: Features) -> tuple[Features, Features]:
    """Those of people who are known, after it was said how many others there are."""
    for name, side in (("query", query), ("gallery", gallery)):
        if unknown := int((side.pids < 0).sum()):
            console.note(f"{name}: {unknown} images of nobody known (pid -1) are left out of the ranking")
    return known(query), known(gallery)


def _scored(
    query: Features, gallery: Features, args: Namespace, *, rule: str, watch: Callable[[Scored], None]
) -> dict[str, Any]:
    """The scores of one pair, after what is odd about it was said."""
    same_model(query, gallery)
    if query.camera != gallery.camera:
        console.note(f"query and gallery differ in their camera embedding: {query.camera}, {gallery.camera}")
    compare_engines(query, gallery)
    for text, copies in (
        (
            "query images are also in the gallery, byte for byte: the result is too good",
            leaks(query, gallery, same_camera=rule),
        ),
        ("gallery images are copies of others, byte for byte", duplicates(gallery)),
    ):
        if copies:
            console.note(f"{copies} {text}")
    found = score(query, gallery, same_camera=rule, reranked=args.rerank, watch=watch).to_json()
    about = {"rerank": args.rerank, "camera": query.camera, "resize": query.resize}
    return found | about | {"gallery": len(gallery.paths)}


def _fresh_pair(
    args: Namespace, opener: Callable[[Namespace], Artifact]
) -> tuple[Features, Features, dict[str, Any]]:
    if args.data is None or args.query is not None or args.gallery is not None:
        raise ConfigError("evaluate MODEL needs --data ROOT; to compare saved features leave MODEL out")
    # what it needs may not be installed: said before anything is read
    resizer(args.resize)
    dataset = read_dataset(args.data, args.layout, max_bad=args.max_bad)
    warnings = count_warnings(dataset)
    _complain(dataset, warnings)
    artifact = opener(args)
    name = dataset_name(dataset.layout, warnings)
    splits = {"query": dataset.query, "gallery": dataset.gallery}
    context: dict[str, Any] = {"layout": dataset.layout, "badly_named": len(dataset.skipped)}

    def pair(resize: str) -> list[Features]:
        given = Namespace(**(vars(args) | {"resize": resize}))
        how = {"batch": args.batch, "workers": args.workers, "resize": resizer(resize)}
        with extractor(artifact, **how) as run:
            return features_of(artifact, splits, given, run, dataset=name)

    query, gallery = pair(EXACT)
    if args.resize == FAST:
        exact, (query, gallery) = (query, gallery), pair(FAST)
        folder = os.path.basename(os.path.abspath(args.data))
        context |= _cost(args, exact, (query, gallery), {"folder": folder, "layout": dataset.layout})
    return query, gallery, context


def _cost(
    args: Namespace, exact: tuple[Features, Features], fast: tuple[Features, Features], data: dict[str, Any]
) -> dict[str, Any]:
    """{exact, difference}, and the file beside the model that says so: what the fast resize gains or loses on this data."""
    rule = args.same_camera or published_rule(data["layout"])
    scores = [score(*pair, same_camera=rule, reranked=args.rerank).to_json() for pair in (exact, fast)]
    before, after = ({key: one[key] for key in KEYS} for one in scores)
    resized = sum(changed(*pair) for pair in zip(exact, fast))
    query, gallery = fast
    data |= {"queries": len(query.paths), "gallery": len(gallery.paths), "resized": resized}
    if resized:
        about = {"engine": query.engine, "camera": query.camera, "rerank": args.rerank}
        measured = {"exact": before, "fast": after, "difference": difference(before, after), "data": data}
        document = measured | about | {"model": query.model, "opencv": opencv_version()}
        console.note(f"{in_words(document)}; written to {write_cost(args.model, document)}")
    else:
        console.note(
            f"--resize fast changes no image of {args.data}: they have the model's size; nothing is recorded"
        )
    return {"exact": before, "difference": difference(before, after)}


def _saved_pair(args: Namespace) -> tuple[Features, Features, dict[str, Any]]:
    if args.query is None or args.gallery is None or args.data is not None:
        raise ConfigError("evaluate needs MODEL --data ROOT, or --query q.npz --gallery g.npz")
    if args.resize != EXACT:
        raise ConfigError("--resize has no effect on saved features; give it to extract")
    if args.camera is not None:
        raise ConfigError("--camera has no effect on saved features; give it to extract")
    query, gallery = saved_features(args.query, args), saved_features(args.gallery, args)
    return query, gallery, {"layout": gallery.layout}


def _remove(path: Path) -> None:
    """Remove a file of features and its manifest, where they are."""
    for file in (path, manifest_path(path)):
        file.unlink(missing_ok=True)


def _complain(dataset: Dataset, warnings: list[str]) -> None:
    tell_notes((*warnings, *dataset.left_out))
    tell([reason for _, reason in dataset.skipped])


def _print_result(title: str, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.print_json(result)
    else:
        console.print_table(title, ["", "value"], list(result.items()))
