"""`python -m runtime extract`: write the features of a folder or list of images, or of the boxes of a video, to an .npz file."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_cluster_options,
    add_layout_option,
    add_model_options,
    add_output_options,
    add_shard_option,
    model_options,
    run_options,
)
from runtime.errors import ConfigError
from runtime.options.argument_types import count
from runtime.options.choices import PRESETS, REOPEN, THROUGHPUT
from runtime.options.cluster import RAY, Cluster, cluster_of

if TYPE_CHECKING:
    from runtime import Features, Model

HELP = "write the features of images, or of the boxes of a video, to a .npz file"


@dataclass(frozen=True)
class VideoOptions:
    """The `video` (a file, a URL or the number of a camera), the file with its `boxes`, and how often a lost stream is reopened."""

    video: str
    boxes: str
    reopen: int


@dataclass(frozen=True)
class ExtractOptions:
    """The model, the images or the video, how to extract the features, and the file `out` to write.

    `images` is a folder, a list file or one image, of which `shard` is extracted (None: all); it is None if there is a `video`.
    `layout` is that of the data set to which the folder belongs; None guesses it. `preset` is "latency" (the least time per image on
    a CPU), "throughput" (the most images per second on a CPU), or None to run the model with the options of `model` and
    `run_options` alone. With a `cluster`, Ray runs the preset "throughput" there. `as_json` prints one JSON document instead of a
    table.
    """

    model: ModelOptions
    run_options: RunOptions
    images: str | None
    video: VideoOptions | None
    layout: str | None
    shard: str | None
    out: Path
    preset: str | None
    cluster: Cluster | None
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `extract` to `parser`."""
    parser.add_argument(
        "model", metavar="MODEL", help="an exported .onnx file or an engine, with its manifest beside it"
    )
    parser.add_argument("images", nargs="?", metavar="IMAGES", help="a folder, a list file or one image")
    parser.add_argument(
        "--video",
        metavar="FILE|URL|NUMBER",
        help="a video in place of IMAGES: a file, a stream such as rtsp://..., or the number of a camera; needs --boxes",
    )
    parser.add_argument(
        "--boxes",
        metavar="FILE",
        help="where the people are in the frames of the video: JSON lines or MOTChallenge text",
    )
    parser.add_argument(
        "--reopen",
        type=count,
        metavar="N",
        help=f"how many times in succession a lost stream is opened again (default: {REOPEN})",
    )
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the feature file to write")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings for a CPU: latency (one process, all cores, batch 1) or throughput (one single-threaded process per core)",
    )
    add_cluster_options(parser)
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
        video=_video_options(args),
        layout=args.layout,
        shard=args.shard,
        out=Path(args.out),
        preset=args.preset,
        cluster=cluster_of(args.on, args.address, preset=args.preset, device=args.device),
        as_json=args.json,
    )
    run(options)


def run(options: ExtractOptions) -> None:
    """Write the features of the images or boxes to the file `out`, and print a summary on stdout.

    Finished batches of images are kept in a folder beside `out` until the file is written, so that the same command resumes a stopped
    run. When too many images or boxes are unusable, the features of the usable ones are written, and TooManyBad is raised.
    """
    from runtime import TooManyBad, Unfinished, console, save_features
    from runtime.cli.model_features import open_with_options
    from runtime.cli.notes import print_result
    from runtime.features import duplicates, partial_path
    from runtime.gallery.resume import resume_folder
    from runtime.images.skipped import write_skipped
    from runtime.stopping import Stopped

    out, noun = options.out, "boxes" if options.video else "images"
    preset = THROUGHPUT if options.cluster else options.preset
    model = open_with_options(options.model, options.run_options, preset=preset)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: features are saved as an .npz file; try {out.with_suffix('.npz')}")
    resume = resume_folder(out)
    try:
        features = _features(model, options)
    except TooManyBad as error:
        if error.features.paths:
            save_features(out, error.features)
        _remove_folder(resume)
        write_skipped(out, error.features.skipped)
        raise
    except Unfinished as stop:
        message = f"no features were saved, because no {'box' if options.video else 'image'} was finished yet"
        if stop.features.paths:
            part = partial_path(out)
            save_features(part, stop.features, total=stop.total)
            again = "starts again from the first frame" if options.video else "resumes"
            message = (
                f"the features of {len(stop.features.paths)} of {stop.total} {noun} are in {part}; "
                f"the same command {again}"
            )
        else:
            _remove_folder(resume)
        raise Stopped(stop.number, message) from None
    save_features(out, features)
    _remove(partial_path(out))
    _remove_folder(resume)
    listed = write_skipped(out, features.skipped)
    if listed:
        console.note(f"{len(features.skipped)} {noun} were skipped; {listed} lists them")
    copies = duplicates(features)
    if copies:
        console.note(f"{copies} images are exact copies of other images")
    result = {
        "out": os.fspath(out),
        **(_video_counts(features, options.video) if options.video else {"images": len(features.paths)}),
        "skipped": len(features.skipped),
        **({} if options.video else {"duplicates": copies}),
        "dim": model.dim,
        "camera": features.camera,
        "engine": features.backend,
        "preset": preset,
        **({"on": RAY} if options.cluster else {}),
        "model": model.sha256,
    }
    print_result("features", result, as_json=options.as_json)


def _video_options(args: Namespace) -> VideoOptions | None:
    """Return the options of a video, or None for images. Raises ConfigError for options that do not go together.

    No message has the address of the video, because it may contain a password.
    """
    if args.video is None:
        if args.boxes is not None:
            raise ConfigError(f"--boxes {args.boxes}: give the video with --video")
        if args.reopen is not None:
            raise ConfigError(f"--reopen {args.reopen}: only a stream is opened again; give it with --video")
        if args.images is None:
            raise ConfigError("no images: give IMAGES, or a video with --video and --boxes")
        return None
    if args.images is not None:
        raise ConfigError(f"{args.images}: give either IMAGES or --video, not both")
    if args.boxes is None:
        raise ConfigError("--video: give the boxes of the people with --boxes")
    if args.layout is not None:
        raise ConfigError(f"--layout {args.layout}: a video has no layout; leave --layout out")
    if args.shard is not None:
        raise ConfigError(f"--shard {args.shard}: a video is extracted as a whole; leave --shard out")
    if args.on is not None:
        raise ConfigError(f"--on {args.on}: extracts image files only; leave it out for a video")
    if args.preset == THROUGHPUT:
        raise ConfigError(
            f"--preset {THROUGHPUT}: its processes read image files only; leave --preset out, and give a --batch"
        )
    return VideoOptions(args.video, args.boxes, REOPEN if args.reopen is None else args.reopen)


def _features(model: Model, options: ExtractOptions) -> Features:
    """Return the features of the images or of the boxes, and print notes and progress on stderr."""
    from functools import partial

    from runtime.cli.model_features import features_of, shard_images, video_features_of
    from runtime.cli.notes import print_notes
    from runtime.gallery.resume import embed_files_resumed
    from runtime.images.sources import labelled_images

    if options.video is not None:
        video = options.video
        return video_features_of(model, video.video, video.boxes, options.run_options, reopen=video.reopen)
    source = options.images or ""
    images = labelled_images(source, options.layout)
    print_notes(images.notes)
    images = shard_images(images, source, options.shard)
    embed = partial(embed_files_resumed, model, out=options.out, cluster=options.cluster)
    (features,) = features_of(model, {"extract": images}, options.run_options, embed)
    return features


def _video_counts(features: Features, options: VideoOptions) -> dict[str, Any]:
    """Return what the summary says about a video: the numbers of boxes, of frames with a box, and of tracks."""
    from runtime.video.source import video_source

    frames, tracks = features.frames, features.tracks
    return {
        "video": video_source(options.video).name,
        "boxes": len(features.paths),
        "frames": 0 if frames is None else len(set(frames.tolist())),
        "tracks": 0 if tracks is None else len(set(tracks.tolist()) - {-1}),
    }


def _remove(path: Path) -> None:
    """Remove a feature file and its manifest, if they exist."""
    from runtime.files.manifest import manifest_path

    for file in (path, manifest_path(path)):
        file.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    """Remove the folder that kept the finished images."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
