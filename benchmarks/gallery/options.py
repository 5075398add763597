"""The command lines of the measurements: parse each into a frozen options object."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.options.argument_types import fraction, positive_integer


@dataclass(frozen=True)
class KillOptions:
    """The number of kills (`count`) and the `seed` of all random choices."""

    count: int
    seed: int


@dataclass(frozen=True)
class FaultOptions:
    """Let every n-th call fail (`every`)."""

    every: int


@dataclass(frozen=True)
class ErasedOptions:
    """Look for the bytes of deleted rows. Has no options."""


@dataclass(frozen=True)
class FullOptions:
    """Fill the disk, which is the one of `--at`. Has no options."""


@dataclass(frozen=True)
class IngestOptions:
    """Add `rows` rows in `rounds` rounds, for each of the widths `dims` and batch sizes `batches`."""

    rows: int
    rounds: int
    dims: tuple[int, ...]
    batches: tuple[int, ...]


@dataclass(frozen=True)
class SearchOptions:
    """Search a gallery of `rows` rows of `dim` numbers, with the labelled features in the files `people` among them."""

    rows: int
    dim: int
    people: tuple[tuple[str, Path], ...]
    searches: int
    queries: int
    index: bool


@dataclass(frozen=True)
class ResumeOptions:
    """Add the images of a folder with a `model`, without and with `stops`, and compare the speeds and the features."""

    model: Path
    images: Path
    stops: int


@dataclass(frozen=True)
class ThresholdOptions:
    """Calibrate for the rate `fpir` with random parts of the `people`, and test on `held_out` others."""

    people: tuple[tuple[str, Path], ...]
    fpir: float
    enrolled: int
    held_out: int
    splits: int
    site: bool


@dataclass(frozen=True)
class SiteOptions:
    """Calibrate with the features `train`, and test with `query` and `gallery`, `draws` times."""

    train: Path
    query: Path
    gallery: Path
    draws: int


Options = (
    KillOptions
    | FaultOptions
    | ErasedOptions
    | FullOptions
    | IngestOptions
    | SearchOptions
    | ResumeOptions
    | ThresholdOptions
    | SiteOptions
)


@dataclass(frozen=True)
class CommandOptions:
    """What to measure (`options`), a folder `at` for galleries (None: a temporary one), the output and the `command` itself."""

    options: Options
    at: Path | None
    as_json: bool
    command: str


def parse(argv: Sequence[str], description: str | None) -> CommandOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        subcommand = commands.add_parser(name, help=text)
        subcommand.add_argument(
            "--at", type=Path, metavar="DIR", help="make galleries below DIR (default: a temporary folder)"
        )
        subcommand.add_argument(
            "--json", action="store_true", help="one JSON document on stdout instead of a table"
        )
        return subcommand

    def number(to: argparse.ArgumentParser, name: str, default: int, text: str) -> None:
        to.add_argument(name, type=positive_integer, default=default, help=f"{text} (default: %(default)s)")

    kills = command("kills", "kill a writing process again and again, and check what is left")
    number(kills, "--count", 1000, "kills")
    kills.add_argument(
        "--seed", type=int, default=0, help="seed of all random choices (default: %(default)s)"
    )
    faults = command("faults", "let every write, sync, rename and removal fail once")
    number(faults, "--every", 1, "let every n-th call fail")
    command("erased", "look for the bytes of deleted rows in all files of a gallery")
    command("full", "fill the disk of --at, which must be a small one, and check what is left")
    ingest = command("ingest", "measure how fast rows are stored, without a model, and their size")
    number(ingest, "--rows", 20_480, "rows of a round")
    number(ingest, "--rounds", 5, "rounds")
    ingest.add_argument(
        "--dims", type=numbers, default=(768, 64), metavar="D,...", help="widths (default: 768,64)"
    )
    ingest.add_argument(
        "--batches", type=numbers, default=(32, 1024), metavar="N,...", help="batch sizes (default: 32,1024)"
    )
    search = command("search", "measure opening, exact and indexed search, and the recall of true rows")
    number(search, "--rows", 100_000, "rows of the gallery")
    number(search, "--dim", 768, "numbers in a feature")
    number(search, "--searches", 40, "queries that are timed one by one")
    number(search, "--queries", 500, "queries of each group of people for the recall")
    search.add_argument("--no-index", action="store_true", help="measure no index")
    resume = command("resume", "measure adding images with a model, and compare stopped runs bit for bit")
    resume.add_argument("model", type=Path, help="model file")
    resume.add_argument("images", type=Path, help="folder of images")
    number(resume, "--stops", 3, "stops of a run")
    thresholds = command("thresholds", "measure whether thresholds keep their bound on other people")
    thresholds.add_argument(
        "--fpir", type=fraction, default=0.01, metavar="RATE", help="rate (default: %(default)s)"
    )
    number(thresholds, "--enrolled", 100, "people in the simulated gallery")
    number(thresholds, "--held-out", 600, "people who have no part in the calibration")
    number(thresholds, "--splits", 20, "random splits")
    thresholds.add_argument(
        "--site", action="store_true", help="subtract the camera means of the calibration people first"
    )
    for subcommand in (search, thresholds):
        subcommand.add_argument(
            "--people",
            type=named,
            action="append",
            required=True,
            metavar="NAME=F.npz",
            help="features of labelled people, and what to call them; files with one NAME count as one; may be repeated",
        )
    site = command("site", "measure site calibration on people who had no part in it, and what it refuses")
    for name, text in (("train", "that give the means"), ("query", "to search for"), ("gallery", "to find")):
        site.add_argument(
            f"--{name}", type=Path, required=True, metavar="F.npz", help=f"features of people {text}"
        )
    number(site, "--draws", 20, "random choices of crops")
    args = parser.parse_args(argv)
    return CommandOptions(
        _options(args.name, vars(args)),
        args.at,
        args.json,
        command_line("python -m benchmarks.gallery", argv),
    )


def _options(name: str, given: Mapping[str, Any]) -> Options:
    """Return the options of the command `name` with the values `given` on the command line."""
    made: dict[str, type[Options]] = {
        "kills": KillOptions,
        "faults": FaultOptions,
        "erased": ErasedOptions,
        "full": FullOptions,
        "ingest": IngestOptions,
        "search": SearchOptions,
        "resume": ResumeOptions,
        "thresholds": ThresholdOptions,
        "site": SiteOptions,
    }
    kind = made[name]
    values = {**given, "index": not given.get("no_index")}
    if "people" in values:
        values["people"] = tuple(values["people"])
    return kind(**{name: values[name] for name in kind.__dataclass_fields__})


def command_line(command: str, argv: Sequence[str]) -> str:
    """Return the command line as a result file quotes it: without the folder for galleries and the form of the output."""
    words, skip = [], False
    for word in argv:
        if not skip and word not in ("--at", "--json"):
            words.append(word)
        skip = word == "--at"
    return " ".join([command, *words])


def named(text: str) -> tuple[str, Path]:
    """Return the parts of NAME=F.npz. Raises ArgumentTypeError for any other text."""
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=F.npz, such as rendered=people.npz")
    return name, Path(path)


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a comma-separated list. Raises ArgumentTypeError for one that is not positive."""
    return tuple(positive_integer(part) for part in text.split(","))
