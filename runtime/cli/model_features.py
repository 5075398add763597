"""Open a model and extract features for a command, and print warnings and progress on stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from runtime import DataError, Features, Model, TooManyBad, console, load_features, open_model
from runtime.cli.arguments import ModelOptions, RunOptions
from runtime.cli.notes import print_notes, print_skipped
from runtime.datasets.cameras import camera_ids
from runtime.features import PARTIAL
from runtime.files.manifest import read_manifest
from runtime.images.shards import Shard, in_shard
from runtime.images.sources import Images
from runtime.video.boxes import read_boxes


def open_with_options(options: ModelOptions, run_options: RunOptions, *, preset: str | None = None) -> Model:
    """Open the model that the parsed options describe. Raises the errors of `runtime.open_model`.

    `preset` selects settings for a CPU: "latency" or "throughput" (`runtime.extraction.preset`). None selects no preset.
    """
    return open_model(
        options.path,
        device=options.device,
        backend=options.backend,
        threads=options.threads,
        batch=run_options.batch,
        preset=preset,
        allow_ungated=options.allow_ungated,
    )


def saved_features(path: str, *, allow_partial: bool) -> Features:
    """Load the features saved at `path`.

    The features of a stopped extraction are loaded only with `allow_partial`, and a warning is printed; without it, ArtifactError is
    raised. Raises the other errors of `load_features` too.
    """
    if allow_partial and read_manifest(path).get("kind") == PARTIAL:
        console.note(
            f"WARNING {path}: the extraction was stopped; the results cover only the images in this file"
        )
    return load_features(path, partial=allow_partial)


def features_of(
    model: Model,
    splits: Mapping[str, Images],
    options: RunOptions,
    embed_files: Callable[..., Features] | None = None,
) -> list[Features]:
    """Return one Features object for each of `splits`, {name: images}, in their order.

    While the images of a split are extracted, stderr shows the progress under the name of the split. Warnings and skipped images are
    printed on stderr. `embed_files` is called in place of `model.embed_files`, with the same arguments. Raises the errors of
    `Model.embed_files`.
    """
    embed = embed_files or model.embed_files
    remarks = _camera_remarks(model, splits, options)
    print_notes(remarks)
    features = []
    for name, images in splits.items():
        try:
            with console.progress(name, len(images.items)) as advance:
                extracted = embed(
                    images,
                    camera=options.camera,
                    workers=options.workers,
                    max_bad=options.max_bad,
                    progress=advance,
                )
        except TooManyBad as error:
            raise _with_advice(error) from None
        _print_remarks(extracted, remarks)
        features.append(extracted)
    return features


def video_features_of(model: Model, video: str, boxes: str, options: RunOptions, *, reopen: int) -> Features:
    """Return the features of the `boxes` (a file) of a `video`, and print warnings and progress on stderr.

    `reopen` says how often a lost stream is opened again. Raises the errors of `Model.embed_video`.
    """
    found = read_boxes(boxes)
    remark = camera_ids(found.cameras, model.artifact.spec, policy=options.camera)[1]
    remarks = [*found.notes, *([remark] if remark else [])]
    print_notes(remarks)
    try:
        with console.progress("extract", len(found) + len(found.bad), noun="boxes") as advance:
            features = model.embed_video(
                video,
                found,
                camera=options.camera,
                workers=options.workers,
                max_bad=options.max_bad,
                reopen=reopen,
                progress=advance,
            )
    except TooManyBad as error:
        raise _with_advice(error) from None
    _print_remarks(features, remarks)
    return features


def _with_advice(error: TooManyBad) -> TooManyBad:
    # Raising --max-bad helps only if at least one image is usable.
    advice = ", or raise --max-bad" if error.features.paths else ""
    return TooManyBad(f"{error}{advice}", error.features)


def _print_remarks(features: Features, printed: Sequence[str]) -> None:
    """Print the skipped images and the notes of `features`, except the notes that were printed already."""
    print_skipped([f"{skipped.path}: {skipped.reason}" for skipped in features.skipped])
    print_notes(note for note in features.notes if note not in printed)


def _camera_remarks(model: Model, splits: Mapping[str, Images], options: RunOptions) -> list[str]:
    """Return the warnings about the camera embeddings, which are printed before the long extraction."""
    remarks = []
    for images in splits.values():
        camids = [item.camid for item in images.items]
        spec, name = model.artifact.spec, images.dataset_name
        remarks.append(camera_ids(camids, spec, policy=options.camera, dataset=name)[1])
    return list(dict.fromkeys(remark for remark in remarks if remark))


def compare_backends(query: Features, gallery: Features) -> None:
    """Print a note when the query and gallery features come from different backends."""
    if query.backend != gallery.backend:
        names = ", ".join(side.backend or "not recorded" for side in (query, gallery))
        console.note(
            f"query and gallery features come from different backends ({names}), whose rounding differs slightly"
        )


def shard_images(images: Images, source: str, shard: str | None) -> Images:
    """Return the images of `source` that are in `shard`, such as "2/4"; None returns all.

    Raises DataError for a shard without images.
    """
    if shard is None:
        return images
    chosen = in_shard(images.items, source, Shard.from_text(shard))
    if not chosen:
        raise DataError(
            f"{source}: no image is in the shard {shard}; use fewer shards, or leave this one out"
        )
    return replace(images, items=chosen)
