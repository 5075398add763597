"""Build a TensorRT engine for this machine, verify an engine, or describe this machine."""

from __future__ import annotations

if __name__ == "__main__":
    # this stands before the other imports, so that a signal during them leaves no traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("engines.__main__"))

from argparse import ArgumentParser
from collections.abc import Sequence

from engines.cli import build, doctor, verify
from runtime.options.subcommands import run_subcommand, subcommand_parser

COMMANDS = {"build": build, "verify": verify, "doctor": doctor}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, such as `build`, as `run_subcommand` does."""
    return run_subcommand(parser(), argv)


def parser() -> ArgumentParser:
    """Return the argument parser of `python -m engines`."""
    return subcommand_parser("python -m engines", __doc__, COMMANDS)
