"""`python -m runtime search`: the nearest gallery images of each query image. Takes parsed arguments and prints one result."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import console
from runtime.cameras import parse_policy
from runtime.errors import ConfigError
from runtime.fast_resize import resizer
from runtime.features import Features, same_model
from runtime.image_list import labelled_images
from runtime.opening import compare_engines, features_of, open_model, saved_features, tell_notes
from runtime.picture_file import PictureOptions, picture_options, search_contents, write_picture
from runtime.preset import extractor
from runtime.ranking import searched_ranking
from runtime.search import search


def search_gallery(args: Namespace) -> None:
    """Print the nearest gallery images of each query image."""
    if args.top < 1:
        raise ConfigError(f"--top {args.top}: give 1 or more")
    picture = picture_options(args)
    gallery = saved_features(args.gallery, args)
    artifact = open_model(args)
    images = [labelled_images(source) for source in args.queries]
    tell_notes(note for one in images for note in one.notes)
    items = [item for one in images for item in one.items]
    if args.camera is None and artifact.spec.camera == "input":
        # as the gallery was seen: features under two camera policies do not compare
        args.camera = parse_policy(gallery.camera)
    # and neither do those of images resized differently
    args.resize = gallery.resize
    how = {"batch": args.batch, "workers": args.workers, "resize": resizer(gallery.resize)}
    with extractor(artifact, **how) as run:
        (query,) = features_of(artifact, {"query": items}, args, run, dataset=None)
    same_model(query, gallery)
    compare_engines(query, gallery)
    indices, distances = search(query.features, gallery.features, top=args.top)
    matches = [
        [
            _match(gallery, rank, int(index), float(distance))
            for rank, (index, distance) in enumerate(zip(*row), 1)
        ]
        for row in zip(indices, distances)
    ]
    try:
        _print_matches(args, query, gallery, matches)
    finally:
        # also when the reader of stdout has gone away
        if picture:
            _picture_search(picture, query, gallery, (indices, distances))


def _print_matches(
    args: Namespace, query: Features, gallery: Features, matches: list[list[dict[str, Any]]]
) -> None:
    if args.json:
        found = [{"path": path, "matches": hits} for path, hits in zip(query.paths, matches)]
        document = {"gallery": args.gallery, "model": gallery.model, "skipped": len(query.skipped)}
        console.print_json(document | {"queries": found})
        return
    for path, hits in zip(query.paths, matches):
        console.print_table(path, list(hits[0]), [list(hit.values()) for hit in hits])


def _picture_search(
    picture: PictureOptions,
    query: Features,
    gallery: Features,
    nearest: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> None:
    rows = zip(query.pids[: picture.queries].tolist(), *nearest)
    rankings = [
        searched_ranking(number, indices[: picture.top], distances[: picture.top], pids=(pid, gallery.pids))
        for number, (pid, indices, distances) in enumerate(rows)
    ]
    write_picture(
        picture.path, search_contents(query, gallery, picture), rankings, query=query, gallery=gallery
    )


def _match(gallery: Features, rank: int, index: int, distance: float) -> dict[str, Any]:
    return {
        "rank": rank,
        "path": gallery.paths[index],
        "pid": int(gallery.pids[index]),
        "camid": int(gallery.camids[index]),
        "distance": distance,
    }
