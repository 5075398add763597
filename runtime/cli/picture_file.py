"""Write the HTML page of the option `--picture`, which shows rankings with their images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime import console
from runtime.cli.picture_options import PictureOptions
from runtime.features import Features
from runtime.files.manifest import replacing
from runtime.images.thumbnails import thumbnail
from runtime.ranking.picture import Contents, Shot, page
from runtime.ranking.strips import Ranking


def evaluation_contents(result: Mapping[str, Any], options: PictureOptions) -> Contents:
    """Return the title, the table of facts and the explanations for the page of an evaluation.

    `result` is the dict that `python -m runtime evaluate --json` prints, without `skipped_images`: the scores, the numbers of images,
    the protocol, the backend and the model.
    """
    scored = result["queries"] - result["queries_without_match"]
    shown = min(options.queries, scored)
    keeps = result["same_camera"] == "keep"
    elsewhere = "" if keeps else " from another camera"
    left_out = (
        "junk (pid -1)"
        if keeps
        else "gallery images of the query's own person from its own camera, and junk (pid -1)"
    )
    notes = [
        f"This page shows the {shown} of {scored} queries with the lowest average precision, the worst first (--picture-queries N "
        f"shows more). Beside each query are the {options.top} nearest of {result['gallery']} gallery images (--picture-top N shows "
        "more). If none of them shows the query's person, the nearest image that does follows after a dotted line.",
        f"As in the evaluation, the ranking leaves out {left_out}. The distances and the order are those of the evaluation.",
    ]
    if result["queries_without_match"]:
        notes.append(
            f"{result['queries_without_match']} more queries have no match{elsewhere}; they are neither scored "
            "nor shown."
        )
    facts = [(name, f"{100 * result[name]:.2f} %") for name in ("mAP", "R1", "mINP")]
    facts += [("queries scored", str(scored)), ("gallery", str(result["gallery"]))]
    facts += [("protocol", result["protocol"])] if result["protocol"] != "published" else []
    facts += [("re-ranked", "yes")] if result["rerank"] else []
    facts += _origin(result)
    distance = "re-ranked distance" if result["rerank"] else "cosine distance"
    return Contents("The worst queries of an evaluation", facts, notes, distance)


def search_contents(query: Features, gallery: Features, options: PictureOptions) -> Contents:
    """Return the title, the table of facts and the explanations for the page of a search for `query` images in `gallery`."""
    shown = min(options.queries, len(query.paths))
    notes = [
        f"This page shows {shown} of {len(query.paths)} queries in the order of the command (--picture-queries N shows more). Beside "
        f"each query are at most {options.top} gallery images (--picture-top N shows more), out of those that the search found "
        "(--top N).",
        "A search ranks all gallery images, so images from the query's own camera and junk images may be among the nearest.",
    ]
    if (query.pids > 0).any():
        notes.append(
            "The identity of an image is read from its file name. Identities of different data sets cannot be compared."
        )
    facts = [("gallery", str(len(gallery.paths)))]
    facts += _origin({"engine": query.backend, "model": query.model, "camera": query.camera})
    return Contents("A search", facts, notes, "cosine distance")


def _origin(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("camera embedding", result["camera"]),
        ("engine", result["engine"] or "not recorded"),
        ("model (sha256)", result["model"][:16]),
    ]


def write_picture(
    path: Path, contents: Contents, rankings: Sequence[Ranking], *, query: Features, gallery: Features
) -> None:
    """Write the page at `path`, completely or not at all, and print on stderr how many queries it shows.

    `rankings` has one entry for each query on the page. An image file that cannot be read, or that has changed since its features
    were extracted, is replaced by a placeholder; stderr says how many there are. Raises StorageError when no file can be created in
    the folder, and OSError when the writing itself fails, for example because the disk is full.
    """
    shots: dict[tuple[int, int], Shot] = {}

    def shot(side: int, row: int) -> Shot:
        if (side, row) not in shots:
            features = (query, gallery)[side]
            name = features.paths[row]
            digest = features.images[row] if features.images else None
            shots[side, row] = Shot(name, int(features.camids[row]), thumbnail(name, digest))
        return shots[side, row]

    text = page(contents, rankings, lambda row: shot(0, row), lambda row: shot(1, row))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.note(
        f"{path}: page with the nearest images of {len(rankings)} of {len(query.paths)} queries; it contains the images themselves"
    )
    missing = [image for image in shots.values() if image.thumbnail.uri is None]
    if missing:
        console.note(
            f"{path}: {len(missing)} of {len(shots)} images are missing and replaced by placeholders; the first is "
            f"{missing[0].path}: {missing[0].thumbnail.missing}"
        )
    if any(not os.path.isabs(image.path) and not os.path.exists(image.path) for image in missing):
        console.note(
            "the features record relative image paths; run this command in the folder in which extract ran"
        )
