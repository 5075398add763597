"""`python -m runtime extract`: write the features of a folder or list of images to an .npz file."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_layout_option,
    add_model_options,
    add_output_options,
    add_shard_option,
    model_options,
    run_options,
)
from runtime.options.choices import PRESETS

HELP = "write the features of images to a .npz file"


@dataclass(frozen=True)
class ExtractOptions:
    """The model, the images, how to extract their features, and the file `out` to write.

    `images` is a folder, a list file or one image, of which `shard` is extracted (None: all). `layout` is that of the
    data set to which the folder belongs; None guesses it.
    `preset` is "latency" (the least time per image on a CPU), "throughput" (the most images per second on a CPU), or None to run the
    model with the options of `model` and `run_options` alone. `as_json` prints one JSON document instead of a table.
    """

    model: ModelOptions
    run_options: RunOptions
    images: str
    layout: str | None
    shard: str | None
    out: Path
    preset: str | None
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `extract` to `parser`."""
    parser.add_argument(
        "model", metavar="MODEL", help="an exported .onnx file or an engine, with its manifest beside it"
    )
    parser.add_argument("images", metavar="IMAGES", help="a folder, a list file or one image")
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the feature file to write")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings for a CPU: latency (one process, all cores, batch 1) or throughput (one single-threaded process per core)",
    )
    add_shard_option(parser)
    add_layout_option(parser)
    add_model_options(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run the command `extract` with the parsed arguments `args`."""
    options = ExtractOptions(
        model=model_options(args),
        run_options=run_options(args),
        images=args.images,
        layout=args.layout,
        shard=args.shard,
        out=Path(args.out),
        preset=args.preset,
        as_json=args.json,
    )
    run(options)


def run(options: ExtractOptions) -> None:
    """Write the features of the images to the file `out`, and print a summary on stdout.

    Finished batches are kept in a folder beside `out` until the file is written, so that the same command resumes a stopped
    run. When too many images are unusable, the features of the usable ones are written, and TooManyBad is raised.
    """
    from functools import partial

    from runtime import ConfigError, TooManyBad, Unfinished, console, save_features
    from runtime.cli.model_features import features_of, open_with_options, shard_images
    from runtime.cli.notes import print_notes, print_result
    from runtime.features import duplicates, partial_path
    from runtime.gallery.resume import embed_files_resumed, resume_folder
    from runtime.images.skipped import write_skipped
    from runtime.images.sources import labelled_images
    from runtime.stopping import Stopped

    out = options.out
    model = open_with_options(options.model, options.run_options, preset=options.preset)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are saved as an .npz file; try {out.with_suffix('.npz')}")
    images = labelled_images(options.images, options.layout)
    print_notes(images.notes)
    images = shard_images(images, options.images, options.shard)
    resume = resume_folder(out)
    embed = partial(embed_files_resumed, model, out=out)
    try:
        (features,) = features_of(model, {"extract": images}, options.run_options, embed)
    except TooManyBad as error:
        if error.features.paths:
            save_features(out, error.features)
        _remove_folder(resume)
        write_skipped(out, error.features.skipped)
        raise
    except Unfinished as stop:
        message = "no features were saved, because no image was finished yet"
        if stop.features.paths:
            part = partial_path(out)
            save_features(part, stop.features, total=stop.total)
            message = (
                f"the features of {len(stop.features.paths)} of {stop.total} images are in {part}; "
                "the same command resumes"
            )
        else:
            _remove_folder(resume)
        raise Stopped(stop.number, message) from None
    save_features(out, features)
    _remove(partial_path(out))
    _remove_folder(resume)
    listed = write_skipped(out, features.skipped)
    if listed:
        console.note(f"{len(features.skipped)} images were skipped; {listed} lists them")
    if copies := duplicates(features):
        console.note(f"{copies} images are exact copies of other images")
    result = {
        "out": os.fspath(out),
        "images": len(features.paths),
        "skipped": len(features.skipped),
        "duplicates": copies,
        "dim": model.dim,
        "camera": features.camera,
        "engine": features.backend,
        "preset": options.preset,
        "model": model.sha256,
    }
    print_result("features", result, as_json=options.as_json)


def _remove(path: Path) -> None:
    """Remove a feature file and its manifest, if they exist."""
    from runtime.files.manifest import manifest_path

    for file in (path, manifest_path(path)):
        file.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    """Remove the folder that kept the finished images."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
