"""`python -m runtime calibrate threshold`: the distance at which a match is accepted, at a known rate of false matches."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from runtime.cli.gallery.arguments import add_store_option
from runtime.options.argument_types import fraction, positive_integer
from runtime.options.store_place import StorePlace

HELP = "the distance at which a match is accepted, at a known rate of false matches"


@dataclass(frozen=True)
class Options:
    """The gallery `store`, the feature files of labelled `people` (none: the gallery's own rows), and how to calibrate.

    `fpir`, `enrolled`, `seed` and `crops` are those of `runtime.gallery.calibrating.ThresholdOptions`. `off` uses no threshold from
    now on.
    """

    store: StorePlace
    people: tuple[str, ...]
    fpir: float
    enrolled: int | None
    seed: int
    crops: int
    off: bool
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to `parser`."""
    add_store_option(parser)
    parser.add_argument(
        "--people",
        action="append",
        default=[],
        metavar="F.npz",
        help="features of labelled people, from extract; may be repeated; a person has one number in all (default: the gallery)",
    )
    parser.add_argument(
        "--fpir",
        type=fraction,
        default=0.01,
        metavar="RATE",
        help="the allowed rate of searches for a stranger that accept somebody (default: %(default)s)",
    )
    parser.add_argument(
        "--enrolled",
        type=positive_integer,
        metavar="N",
        help="the number of people in the simulated gallery; choose that of the real one (default: a third of all people)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides who is enrolled (default: %(default)s)")
    parser.add_argument(
        "--crops",
        type=positive_integer,
        default=0,
        metavar="N",
        help="keep N images of the people, which calibrate transfer needs; they are personal data (default: none)",
    )
    parser.add_argument("--off", action="store_true", help="use no threshold from now on")


def command(args: Namespace) -> None:
    """Run the command with the parsed arguments `args`."""
    people = tuple(args.people)
    run(Options(args.store, people, args.fpir, args.enrolled, args.seed, args.crops, args.off, args.json))


def run(options: Options) -> None:
    """Calibrate and store the threshold, and print it."""
    from runtime import load_features, open_gallery
    from runtime.cli.gallery.verdicts import print_calibration
    from runtime.cli.notes import print_result
    from runtime.gallery.calibrating import ThresholdOptions, calibrate_gallery_threshold, switch_off
    from runtime.gallery.calibrations import THRESHOLD

    with open_gallery(options.store) as gallery:
        if options.off:
            number = switch_off(gallery, THRESHOLD)
            print_result("threshold", {"id": number, "threshold": "off"}, as_json=options.as_json)
            return
        people = [load_features(path) for path in options.people]
        how = ThresholdOptions(options.fpir, options.enrolled, options.seed, options.crops)
        number, threshold = calibrate_gallery_threshold(gallery, people, how)
        verdict = print_calibration(gallery)
    rates = {
        "id": number,
        "mated": threshold.mated,
        **{f"tpir_rank{rank}": rate for rank, rate in threshold.tpir.items()},
        "eer": threshold.eer,
        "fmr": threshold.fmr,
    }
    print_result("threshold", (verdict or {}) | rates, as_json=options.as_json)
