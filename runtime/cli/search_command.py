"""`python -m runtime search`: find the gallery images nearest to each query image."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_model_options,
    add_output_options,
    add_partial_option,
    model_options,
    run_options,
)
from runtime.cli.picture_options import PictureOptions, add_picture_options, picture_options
from runtime.options.argument_types import camera_policy, positive_integer

if TYPE_CHECKING:
    from runtime import Features, Hit

HELP = "find the gallery images nearest to query images"


@dataclass(frozen=True)
class SearchOptions:
    """The model, the `queries` (image files, folders or list files), the file of the gallery features, and how to search.

    `top` is the number of gallery images to find for each query. `allow_partial` accepts the features of a stopped extraction.
    `picture` None writes no page. `as_json` prints one JSON document instead of tables.
    """

    model: ModelOptions
    run_options: RunOptions
    queries: tuple[str, ...]
    gallery: str
    allow_partial: bool
    top: int
    picture: PictureOptions | None
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `search` to `parser`."""
    parser.add_argument("model", metavar="MODEL", help="the model that made the gallery features")
    parser.add_argument(
        "queries",
        metavar="QUERY",
        nargs="+",
        help="image files, folders or list files; identity and camera of a query are read from its file name",
    )
    parser.add_argument("--gallery", required=True, metavar="G.npz", help="saved gallery features")
    parser.add_argument(
        "--top",
        type=positive_integer,
        default=10,
        metavar="N",
        help="the number of gallery images to find for each query (default: %(default)s)",
    )
    add_partial_option(parser)
    add_picture_options(parser)
    add_model_options(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run the command `search` with the parsed arguments `args`."""
    options = SearchOptions(
        model=model_options(args),
        run_options=run_options(args),
        queries=tuple(args.queries),
        gallery=args.gallery,
        allow_partial=args.allow_partial,
        top=args.top,
        picture=picture_options(args),
        as_json=args.json,
    )
    run(options)


def run(options: SearchOptions) -> None:
    """Print the nearest gallery images of each query image on stdout, and write the page if `options.picture` is given."""
    from runtime import search
    from runtime.cli.model_features import compare_backends, features_of, open_with_options, saved_features
    from runtime.cli.notes import print_notes
    from runtime.images.sources import Images, labelled_images

    gallery = saved_features(options.gallery, allow_partial=options.allow_partial)
    model = open_with_options(options.model, options.run_options)
    sources = [labelled_images(source) for source in options.queries]
    print_notes(note for source in sources for note in source.notes)
    images = Images(tuple(item for source in sources for item in source.items))
    camera = options.run_options.camera
    if camera is None and model.artifact.spec.camera == "input":
        # Extract the queries with the camera policy of the gallery, because features under different policies cannot be compared.
        camera = camera_policy(gallery.camera)
    (query,) = features_of(model, {"query": images}, replace(options.run_options, camera=camera))
    compare_backends(query, gallery)
    matches: list[list[Hit]] = [[] for _ in query.paths]
    for hit in search(query, gallery, top=options.top):
        matches[hit.query].append(hit)
    try:
        _print_matches(options, query, gallery, matches)
    finally:
        # The page is also written if the reader of stdout has closed it.
        if options.picture:
            _write_picture(options.picture, query, gallery, matches)


def _print_matches(
    options: SearchOptions, query: Features, gallery: Features, matches: list[list[Hit]]
) -> None:
    from runtime import console

    rows = [[_row(hit) for hit in hits] for hits in matches]
    if options.as_json:
        queries = [{"path": path, "matches": hits} for path, hits in zip(query.paths, rows)]
        document = {"gallery": options.gallery, "model": gallery.model, "skipped": len(query.skipped)}
        console.print_json(document | {"queries": queries})
        return
    for path, hits in zip(query.paths, rows):
        console.print_table(path, list(hits[0]), [list(hit.values()) for hit in hits])


def _write_picture(
    picture: PictureOptions, query: Features, gallery: Features, matches: list[list[Hit]]
) -> None:
    import numpy as np

    from runtime.cli.picture_file import search_contents, write_picture
    from runtime.ranking.strips import searched_ranking

    rankings = []
    for number, hits in enumerate(matches[: picture.queries]):
        shown = hits[: picture.top]
        rows = np.array([hit.row for hit in shown], np.int64)
        distances = np.array([hit.distance for hit in shown], np.float32)
        pids = int(query.pids[number]), gallery.pids
        rankings.append(searched_ranking(number, rows, distances, pids=pids))
    contents = search_contents(query, gallery, picture)
    write_picture(picture.path, contents, rankings, query=query, gallery=gallery)


def _row(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "path": hit.path,
        "pid": hit.pid,
        "camid": hit.camid,
        "distance": hit.distance,
    }
