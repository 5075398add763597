"""`python -m runtime gallery search`: find the stored images nearest to query images."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_max_bad_option,
    add_model_options,
    model_options,
    run_options,
)
from runtime.cli.gallery.arguments import FilterOptions, add_filter_options, add_store_option, filter_options
from runtime.options.argument_types import camera_policy, positive_integer
from runtime.options.store_place import StorePlace

if TYPE_CHECKING:
    from runtime import GalleryHit

HELP = "find the stored images nearest to query images"


@dataclass(frozen=True)
class SearchOptions:
    """The model, the `queries` (image files, folders or list files), the gallery `store`, and how to search it.

    `top` is the number of rows to find for each query. `rerank` orders them anew by the neighbours that they share with the query.
    `index` searches by codes where there are some.
    """

    model: ModelOptions
    run_options: RunOptions
    queries: tuple[str, ...]
    store: StorePlace
    filters: FilterOptions
    top: int
    rerank: bool
    index: bool
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery search` to `parser`."""
    parser.add_argument("model", metavar="MODEL", help="the model of the gallery")
    parser.add_argument("queries", metavar="QUERY", nargs="+", help="image files, folders or list files")
    add_store_option(parser)
    parser.add_argument(
        "--top",
        type=positive_integer,
        default=10,
        metavar="N",
        help="the number of rows to find for each query (default: %(default)s)",
    )
    add_filter_options(parser)
    parser.add_argument(
        "--rerank",
        action="store_true",
        help="order the nearest rows anew by the neighbours that they share with the query; the distances are no cosine distances",
    )
    parser.add_argument(
        "--index",
        action="store_true",
        help="search by the codes of gallery index, where there are some; the default is exact",
    )
    add_model_options(parser)
    add_max_bad_option(parser)


def command(args: Namespace) -> None:
    """Run the command `gallery search` with the parsed arguments `args`."""
    run(
        SearchOptions(
            model=model_options(args),
            run_options=run_options(args),
            queries=tuple(args.queries),
            store=args.store,
            filters=filter_options(args),
            top=args.top,
            rerank=args.rerank,
            index=args.index,
            as_json=args.json,
        )
    )


def run(options: SearchOptions) -> None:
    """Print the nearest stored images of each query on stdout."""
    from runtime import console, open_gallery
    from runtime.cli.gallery.verdicts import print_calibration
    from runtime.cli.model_features import features_of, open_with_options
    from runtime.cli.notes import print_notes
    from runtime.gallery.lookup.filters import Search
    from runtime.gallery.lookup.searching import NEIGHBOURHOOD
    from runtime.gallery.space import same_space, space_of_features
    from runtime.images.sources import Images, labelled_images

    filters = options.filters.filters()
    with open_gallery(options.store) as gallery:
        model = open_with_options(options.model, options.run_options)
        sources = [labelled_images(source) for source in options.queries]
        print_notes(note for source in sources for note in source.notes)
        images = Images(tuple(item for source in sources for item in source.items))
        how = options.run_options
        if how.camera is None and model.artifact.spec.camera == "input":
            # the queries get the camera policy of the gallery, because other features cannot be compared with it
            how = replace(how, camera=camera_policy(gallery.space.camera))
        (query,) = features_of(model, {"query": images}, how)
        same_space(gallery.space, space_of_features(query), str(options.store))
        search = Search(filters, options.top, options.rerank, options.index)
        hits = gallery.find(query.features, search, query.camids.tolist())
        rows, verdict = len(gallery), print_calibration(gallery)
        covered = gallery.coverage() if options.index else None
    if covered and covered.coded < covered.rows:
        console.note(
            f"{covered.rows - covered.coded} of {covered.rows} rows have no codes and were searched exactly; run: "
            f"python -m runtime gallery index --store {options.store}"
        )
    if not hits:
        console.note(f"no row fits the filters; the gallery has {rows} rows")
    if options.rerank:
        console.note(
            f"re-ranked: the {max(NEIGHBOURHOOD, options.top)} nearest rows of each query are ordered by the neighbours that they "
            "share with it; the distances depend on the other rows and are no cosine distances"
        )
    matches: list[list[GalleryHit]] = [[] for _ in query.paths]
    for hit in hits:
        matches[hit.query].append(hit)
    _print(options, query.paths, matches, verdict)


def _print(
    options: SearchOptions,
    paths: tuple[str, ...],
    matches: list[list[GalleryHit]],
    verdict: dict[str, Any] | None,
) -> None:
    from runtime import console

    rows = [[_row(hit) for hit in hits] for hits in matches]
    if options.as_json:
        queries = [{"path": path, "matches": hits} for path, hits in zip(paths, rows)]
        document = {"store": str(options.store), "reranked": options.rerank, "threshold": verdict}
        console.print_json(document | {"queries": queries})
        return
    for path, hits in zip(paths, rows):
        if hits:
            columns = ["rank", "path", "person", "camera", "time", "track", "distance", "id"]
            columns += ["accepted", "probability", "fpir"] if hits[0]["accepted"] is not None else []
            shown = [["" if hit[name] is None else hit[name] for name in columns] for hit in hits]
            console.print_table(path, columns, shown)


def _row(hit: GalleryHit) -> dict[str, Any]:
    from runtime.gallery.exchange import row_json

    verdict = {
        "accepted": hit.accepted,
        "probability": hit.probability,
        "fpir": hit.fpir,
        "fpir_bound": hit.fpir_bound,
    }
    return {"rank": hit.rank, "distance": hit.distance} | row_json(hit.id, hit.row) | verdict
