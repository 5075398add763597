"""`python -m runtime calibrate site`: the mean feature of each camera, which a search subtracts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.gallery.arguments import add_store_option
from runtime.options.store_place import StorePlace

HELP = "the mean feature of each camera, from the gallery's own rows without labels"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to `parser`."""
    add_store_option(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which crops are used (default: %(default)s)"
    )
    parser.add_argument("--off", action="store_true", help="use no site calibration from now on")


def command(args: Namespace) -> None:
    """Run the command with the parsed arguments `args`."""
    run(args.store, seed=args.seed, off=args.off, as_json=args.json)


def run(store: StorePlace, *, seed: int, off: bool, as_json: bool) -> None:
    """Calibrate the cameras, and print how many crops each mean comes from."""
    from runtime import open_gallery
    from runtime.cli.gallery.verdicts import print_calibration
    from runtime.cli.notes import print_result
    from runtime.gallery.calibrating import calibrate_gallery_site, switch_off
    from runtime.gallery.calibrations import SITE

    with open_gallery(store) as gallery:
        if off:
            result: dict[str, object] = {"id": switch_off(gallery, SITE), "site": "off"}
        else:
            number, means = calibrate_gallery_site(gallery, seed=seed)
            crops = {str(camera): count for camera, count in zip(means.cameras, means.crops)}
            result = {"id": number, "cameras": crops}
        print_calibration(gallery)
    print_result("site calibration", result, as_json=as_json)
