"""Evaluate an opened model on a data set, or saved features. Print the scores, and write a page that shows the worst queries."""

from __future__ import annotations

from typing import Any

from runtime import Features, Model, console, evaluate
from runtime.cli.evaluate_options import FileEvaluation, ModelEvaluation, ScoreOptions
from runtime.cli.model_features import compare_backends, features_of, saved_features
from runtime.cli.notes import print_data_warnings, print_result
from runtime.cli.picture_file import evaluation_contents, write_picture
from runtime.datasets import Dataset, count_warnings, read_dataset
from runtime.features import duplicates
from runtime.images.skipped import Skipped
from runtime.images.sources import Images
from runtime.ranking.protocol import known, leaks, protocol_text, published_rule
from runtime.ranking.strips import WorstRankings

PERCENT = ("mAP", "R1", "R5", "R10", "mINP", "mAP_market_matlab")

Pair = tuple[Features, Features]


def read_data(options: ModelEvaluation) -> Dataset:
    """Read the data set of an evaluation, and print warnings about it on stderr. Raises the errors of `read_dataset`."""
    data = options.data
    dataset = read_dataset(data.root, data.layout, max_bad=data.max_bad)
    print_data_warnings(dataset, count_warnings(dataset))
    return dataset


def evaluate_model(model: Model, dataset: Dataset, options: ModelEvaluation) -> None:
    """Print mAP, CMC and mINP of an opened model on a data set, and write the page of its worst queries if `--picture` is given.

    The features come from the session `model.artifact.run`. It may be any `runtime.session.Session`, also one that runs a torch
    model. The scores go to stdout, and warnings to stderr.
    """
    splits = {
        "query": Images(dataset.query, dataset=dataset),
        "gallery": Images(dataset.gallery, dataset=dataset),
    }
    query, gallery = features_of(model, splits, options.run_options)
    context: dict[str, Any] = {"layout": dataset.layout, "badly_named": len(dataset.skipped)}
    _report((query, gallery), context, options.score)


def evaluate_files(options: FileEvaluation) -> None:
    """Print mAP, CMC and mINP of saved features, and write the page of the worst queries if `--picture` is given."""
    query, gallery = (
        saved_features(path, allow_partial=options.allow_partial) for path in (options.query, options.gallery)
    )
    _report((query, gallery), {"layout": gallery.layout}, options.score)


def _report(pair: Pair, context: dict[str, Any], options: ScoreOptions) -> None:
    """Score the query and gallery features `pair`, print the scores together with `context`, and write the page if there is one."""
    picture = options.picture
    # A cosine distance is 1 minus the cosine; a re-ranked distance has no such offset.
    worst = (
        WorstRankings(picture.queries, picture.top, offset=0 if options.rerank else 1) if picture else None
    )
    skipped = [*pair[0].skipped, *pair[1].skipped]
    query, gallery = _known(*pair)
    rule = options.same_camera or published_rule(context["layout"])
    result = _scores(query, gallery, options.rerank, rule=rule, worst=worst)
    result |= {"same_camera": rule, "protocol": protocol_text(rule, context["layout"])}
    result |= {"skipped": len(skipped), "engine": query.backend, "model": query.model} | context
    try:
        _print_scores(result, skipped, as_json=options.as_json)
    finally:
        # The page is also written if the reader of stdout has closed it.
        if picture and worst:
            contents = evaluation_contents(result, picture)
            write_picture(picture.path, contents, worst.rankings(), query=query, gallery=gallery)


def _known(query: Features, gallery: Features) -> Pair:
    """Return the features without the images of unknown people, and print how many images are left out."""
    for name, side in (("query", query), ("gallery", gallery)):
        if unknown := int((side.pids < 0).sum()):
            console.note(f"{name}: {unknown} images of unknown people (pid -1) are left out of the ranking")
    return known(query), known(gallery)


def _scores(
    query: Features, gallery: Features, rerank: bool, *, rule: str, worst: WorstRankings | None
) -> dict[str, Any]:
    """Print warnings about the features, then score one query and gallery pair."""
    if query.camera != gallery.camera:
        console.note(
            f"the camera embedding differs: {query.camera} for the query, {gallery.camera} for the gallery"
        )
    compare_backends(query, gallery)
    for text, copies in (
        (
            "query images have an exact copy in the gallery, so the scores are too high",
            leaks(query, gallery, same_camera=rule),
        ),
        ("gallery images are exact copies of other gallery images", duplicates(gallery)),
    ):
        if copies:
            console.note(f"{copies} {text}")
    watch = worst.see if worst else None
    scores = evaluate(query, gallery, rerank=rerank, same_camera=rule, watch=watch).to_json()
    origin = {"rerank": rerank, "camera": query.camera}
    return scores | origin | {"gallery": len(gallery.paths)}


def _print_scores(result: dict[str, Any], skipped: list[Skipped], *, as_json: bool) -> None:
    if as_json:
        reasons = [{"path": image.path, "reason": image.reason} for image in skipped]
        console.print_json(result | {"skipped_images": reasons})
        return
    shown = {key: f"{100 * value:.2f} %" if key in PERCENT else value for key, value in result.items()}
    print_result("evaluation", shown, as_json=False)
