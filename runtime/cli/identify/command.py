"""`python -m runtime identify`: give the tracks of several cameras the identities of people, one event a track."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from runtime.cli.arguments import (
    add_model_options,
    add_output_options,
    model_options,
    run_options,
)
from runtime.cli.gallery.arguments import camera_numbers
from runtime.cli.identify.options import IdentifyOptions, VideoTracks
from runtime.errors import ConfigError
from runtime.identities.options import IdentityOptions
from runtime.options.argument_types import fraction, positive_integer
from runtime.options.store_place import store_place

HELP = "give the tracks of several cameras the identities of people"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `identify` to `parser`."""
    usual = IdentityOptions()
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="the model, for --video: an exported .onnx file or an engine",
    )
    parser.add_argument(
        "--store",
        required=True,
        type=store_place,
        metavar="DIR",
        help="the gallery that keeps the identities",
    )
    parser.add_argument(
        "--video",
        action="append",
        default=[],
        metavar="FILE",
        help="the video of a camera; give --video and --boxes once for each",
    )
    parser.add_argument(
        "--features",
        action="append",
        default=[],
        metavar="FILE.npz",
        help="the features of a video that extract made, in place of --video; may be given several times",
    )
    parser.add_argument(
        "--boxes",
        action="append",
        default=[],
        metavar="FILE",
        help="the boxes of each video with the tracker's numbers, in the same order: JSON lines or MOTChallenge text",
    )
    parser.add_argument(
        "--as-cameras",
        type=camera_numbers,
        metavar="C,...",
        help="the 0-based camera of each video (default: that in its boxes, else 0, 1, 2, ... in the order of the videos)",
    )
    parser.add_argument(
        "--start",
        action="append",
        default=[],
        metavar="TIME",
        help="when each video began, such as 2026-11-27T10:15:00Z; one time for all, or one for each (default: all began together)",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE.jsonl", help="the file for the events, one JSON object a line"
    )
    parser.add_argument(
        "--picture", metavar="FILE.html", help="also write a page with a lane for each camera"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--false-match-rate",
        type=fraction,
        default=usual.false_match_rate,
        metavar="RATE",
        help="how often somebody new may be taken for somebody known (default: %(default)s)",
    )
    group.add_argument(
        "--threshold",
        type=float,
        metavar="DISTANCE",
        help="the largest cosine distance between a track and its identity instead",
    )
    parser.add_argument(
        "--measure-again",
        action="store_true",
        help="measure the distances between different people on these tracks, and not use those that the gallery keeps",
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=usual.delay_s,
        metavar="SECONDS",
        help="a track is decided so long after its end (default: %(default)s)",
    )
    parser.add_argument(
        "--look-ahead",
        type=float,
        default=usual.look_ahead_s,
        metavar="SECONDS",
        help="the tracks that end within this part of the delay are looked at first (default: %(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=usual.window_s,
        metavar="SECONDS",
        help="how long an identity without a new track can still get one (default: %(default)s)",
    )
    parser.add_argument(
        "--most",
        type=positive_integer,
        default=usual.most,
        metavar="N",
        help="how many identities can get tracks at once (default: %(default)s)",
    )
    parser.add_argument(
        "--separate-cameras",
        action="store_true",
        help="no two cameras see the same place, so a person is in one camera at a time",
    )
    add_model_options(parser)
    add_output_options(parser)


def command(args: Namespace) -> None:
    """Run the command `identify` with the parsed arguments `args`."""
    from runtime.cli.identify.running import run

    run(_options(args))


def _options(args: Namespace) -> IdentifyOptions:
    if args.video and args.model is None:
        raise ConfigError("--video: needs a MODEL; or give the features of the videos with --features")
    if args.model is not None and not args.video:
        raise ConfigError(f"{args.model}: only --video needs a model; give --video, or leave the model out")
    sources = [*args.video, *args.features]
    if args.boxes and len(args.boxes) != len(sources) or args.video and not args.boxes:
        raise ConfigError(
            f"--boxes: {len(args.boxes)} files for {len(sources)} videos; give one for each, in the same order"
        )
    for option, values in (("--as-cameras", args.as_cameras), ("--start", args.start)):
        if values and len(values) != len(sources) and (option == "--as-cameras" or len(values) > 1):
            raise ConfigError(
                f"{option}: {len(values)} values for {len(sources)} videos; give one for each, in the same order"
            )
    starts = (
        [None] * len(sources)
        if not args.start
        else args.start * (len(sources) if len(args.start) == 1 else 1)
    )
    tracks = [
        VideoTracks(
            source,
            args.boxes[place] if args.boxes else None,
            place,
            args.as_cameras[place] if args.as_cameras else None,
            starts[place],
        )
        for place, source in enumerate(sources)
    ]
    identities = IdentityOptions(
        false_match_rate=args.false_match_rate,
        delay_s=args.delay,
        look_ahead_s=args.look_ahead,
        window_s=args.window,
        most=args.most,
        separate_cameras=args.separate_cameras,
    )
    identities.check()
    _check_values(args)
    _check_outputs(args)
    return IdentifyOptions(
        store=args.store,
        model=None if args.model is None else model_options(args),
        run_options=run_options(args),
        videos=tuple(tracks[: len(args.video)]),
        features=tuple(tracks[len(args.video) :]),
        identities=identities,
        threshold=args.threshold,
        measure_again=args.measure_again,
        out=args.out,
        picture=_picture(args.picture),
        as_json=args.json,
    )


def _check_values(args: Namespace) -> None:
    """Raise ConfigError for a threshold or a time that is wrong, before any work is done."""
    if args.threshold is not None and not 0 <= args.threshold <= 2:
        raise ConfigError(
            f"--threshold {args.threshold}: give a cosine distance between 0 and 2, such as 0.4"
        )
    if args.start:
        from runtime.gallery.times import microseconds

        for time in args.start:
            microseconds(time, "--start")


def _check_outputs(args: Namespace) -> None:
    """Raise ConfigError for an output that is a folder or would replace an input or another output, before any work is done."""
    inputs = {Path(name).resolve() for name in (args.model, *args.video, *args.features, *args.boxes) if name}
    for option, name in (("--out", args.out), ("--picture", args.picture)):
        if name is None:
            continue
        path = Path(name).resolve()
        if path.is_dir():
            raise ConfigError(f"{option} {name}: is a folder; give the name of a file")
        if path in inputs:
            raise ConfigError(
                f"{option} {name}: is a file that the command reads or writes as well; give another name"
            )
        inputs.add(path)


def _picture(name: str | None) -> Path | None:
    if name is None:
        return None
    from runtime.cli.picture_options import SUFFIXES

    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--picture {path}: the picture is an HTML page; try {path.with_suffix('.html')}")
    return path
