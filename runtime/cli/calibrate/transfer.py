"""`python -m runtime calibrate transfer`: use a threshold with another file of the same model, after a check."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_model_options,
    model_options,
    run_options,
)
from runtime.cli.gallery.arguments import add_store_option
from runtime.datasets import MAX_BAD
from runtime.options.store_place import StorePlace, store_place

HELP = "use a threshold with another file of the same model, after a check on the calibration crops"


@dataclass(frozen=True)
class TransferOptions:
    """The `model` of the gallery `store`, and the gallery `source` that has the threshold and its crops."""

    model: ModelOptions
    run_options: RunOptions
    store: StorePlace
    source: StorePlace
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to `parser`."""
    parser.add_argument("model", metavar="MODEL", help="the model of the gallery that gets the threshold")
    add_store_option(parser)
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        type=store_place,
        metavar="DIR",
        help="the gallery whose threshold was calibrated with --crops",
    )
    add_model_options(parser)
    parser.set_defaults(max_bad=MAX_BAD)


def command(args: Namespace) -> None:
    """Run the command with the parsed arguments `args`."""
    run(TransferOptions(model_options(args), run_options(args), args.store, args.source, args.json))


def run(options: TransferOptions) -> None:
    """Check the threshold with the model, store it, and print how the distances changed."""
    from runtime import open_gallery
    from runtime.cli.model_features import open_with_options
    from runtime.cli.notes import print_result
    from runtime.gallery.transfer import transfer_threshold

    with open_gallery(options.source) as source, open_gallery(options.store) as target:
        model = open_with_options(options.model, options.run_options)
        result = transfer_threshold(source, target, model)
    print_result("threshold transferred", asdict(result), as_json=options.as_json)
