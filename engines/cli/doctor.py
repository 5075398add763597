"""`python -m engines doctor`: describe this machine, what it can run, and what it lacks for the given models."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError

HELP = "describe this machine and what it can run"
HERE = Path("/")


@dataclass(frozen=True)
class DoctorOptions:
    """The `models` to examine, and the `root` folder of the file system of the machine to describe.

    `root` is `HERE` ("/") for this machine, or the folder where another machine's file system is mounted or copied. With
    `as_json`, the report is printed as one JSON document instead of tables.
    """

    models: tuple[Path, ...]
    root: Path
    as_json: bool


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `engines doctor` to `parser`, in place."""
    parser.add_argument(
        "models",
        nargs="*",
        type=Path,
        metavar="MODEL",
        help="an .onnx file or an engine: print what is missing here to run it, and how to fix that",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="describe another machine, whose root file system is mounted or copied at DIR",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def command(args: Namespace) -> None:
    """Run `engines doctor` with the parsed arguments `args`. Raises ConfigError if the folder of --root does not exist."""
    run(DoctorOptions(tuple(args.models), args.root, args.json))


def run(options: DoctorOptions) -> None:
    """Print a description of the machine, what it can run, and what is missing to run the given models.

    Raises ConfigError if the root folder does not exist.
    """
    from engines.doctor import doctor, tables
    from engines.doctor.model import examine_model
    from runtime.console import print_json

    root = options.root
    if not root.is_dir():
        raise ConfigError(
            f"--root {root}: there is no such folder; leave the option out to examine this machine"
        )
    report = doctor.diagnose(root=root, environment=os.environ if root == HERE else {})
    if options.models:
        report["models"] = [examine_model(model, report) for model in options.models]
    if options.as_json:
        print_json(report)
    else:
        tables.print_report(report)
