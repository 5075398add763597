"""The options that several commands share: functions that add them to a parser, and frozen objects for the parsed values."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.datasets import MAX_BAD, READERS
from runtime.options.argument_types import camera_policy, fraction, positive_integer
from runtime.options.backend_option import add_backend_option
from runtime.options.choices import DEVICES
from runtime.options.cluster import ENGINES, RAY


@dataclass(frozen=True)
class ModelOptions:
    """The model file `path` and how to run it; the other fields are parameters of `runtime.opening.open_artifact`."""

    path: str
    device: str
    backend: str
    threads: int | None
    allow_ungated: bool


@dataclass(frozen=True)
class RunOptions:
    """How features are extracted with an opened model.

    `batch` is the number of images per run (None: the model's fixed batch, else 16), and `workers` the number of decoding threads
    (None: up to 4). `camera` selects the camera embedding: that of each image's own camera ("input"), the mean of all ("mean"), no
    embedding ("none"), or that of one 0-based camera id for all images. None chooses the default for the model and the data set
    (`runtime.datasets.cameras.resolve_policy`). The extraction fails when more than the fraction `max_bad` (0..1) of the images is
    unusable.
    """

    batch: int | None
    workers: int | None
    camera: str | int | None
    max_bad: float


@dataclass(frozen=True)
class DataOptions:
    """The data set to read: its folder or list file `root` and its `layout` (None: guess it).

    Reading fails when more than the fraction `max_bad` (0..1) of the image names does not fit the layout.
    """

    root: str
    layout: str | None
    max_bad: float


def model_options(args: Namespace) -> ModelOptions:
    """Return the values of MODEL, `--device`, `--backend`, `--threads` and `--allow-ungated` in the parsed `args`."""
    return ModelOptions(args.model, args.device, args.backend, args.threads, args.allow_ungated)


def run_options(args: Namespace) -> RunOptions:
    """Return the values of `--batch`, `--workers`, `--camera` and `--max-bad` in the parsed `args`."""
    return RunOptions(args.batch, args.workers, args.camera, args.max_bad)


def add_layout_option(parser: ArgumentParser) -> None:
    """Add the option `--layout` to `parser`."""
    parser.add_argument(
        "--layout",
        choices=sorted(READERS),
        help="layout of the data set (default: guessed from the folder; an uncertain guess is an error)",
    )


def add_output_options(parser: ArgumentParser) -> None:
    """Add the options `--json` and `--max-bad` to `parser`."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")
    add_max_bad_option(parser)


def add_max_bad_option(parser: ArgumentParser) -> None:
    """Add the option `--max-bad` to `parser`."""
    parser.add_argument(
        "--max-bad",
        type=fraction,
        default=MAX_BAD,
        metavar="FRACTION",
        help="end with exit code 3 when more than this fraction of all images is unusable (default: %(default)s)",
    )


def add_opening_options(parser: ArgumentParser) -> None:
    """Add `--device`, `--backend`, `--threads` and `--allow-ungated` to `parser`."""
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where the model runs (default: %(default)s)"
    )
    add_backend_option(parser)
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="threads of the model (default: all cores)"
    )
    parser.add_argument(
        "--allow-ungated", action="store_true", help="also run a model that has not passed its quality gate"
    )


def add_model_options(parser: ArgumentParser) -> None:
    """Add the options of `add_opening_options`, `--batch`, `--workers` and `--camera` to `parser`."""
    add_opening_options(parser)
    parser.add_argument(
        "--batch",
        type=positive_integer,
        metavar="N",
        help="batch size: images in one run of the model (default: the model's fixed batch, else 16)",
    )
    parser.add_argument(
        "--workers", type=positive_integer, metavar="N", help="threads that decode images (default: up to 4)"
    )
    parser.add_argument(
        "--camera",
        type=camera_policy,
        metavar="P",
        help="camera embedding: input (ids from the file names), mean, none or a 0-based id (default: input on "
        "the data set that the model was trained on, otherwise mean)",
    )


def add_partial_option(parser: ArgumentParser) -> None:
    """Add the option `--allow-partial` to `parser`."""
    parser.add_argument(
        "--allow-partial", action="store_true", help="accept the partial features of a stopped extraction"
    )


def add_shard_option(parser: ArgumentParser) -> None:
    """Add the option `--shard` to `parser`."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="only the images of shard I of N, for N machines; gallery merge joins what they made (default: all images)",
    )


def add_cluster_options(parser: ArgumentParser) -> None:
    """Add the options `--on` and `--address` to `parser`."""
    parser.add_argument(
        "--on",
        choices=ENGINES,
        help="extract on Ray Data: one actor with one thread for each CPU, on this machine or on a cluster",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"the running cluster for --on {RAY}, or auto (default: one on this machine, which ends with the command)",
    )
