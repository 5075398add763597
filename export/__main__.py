"""Adopt an ONNX file of another project. To export a model of this project, run export_onnx.py."""

from __future__ import annotations

if __name__ == "__main__":
    # this stands before the other imports, so that a signal during them leaves no traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("export.__main__"))

from argparse import ArgumentParser
from collections.abc import Sequence

from export.adopting import cli as adopt
from runtime.options.subcommands import run_subcommand, subcommand_parser

COMMANDS = {"adopt": adopt}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, such as `adopt`, as `run_subcommand` does."""
    return run_subcommand(parser(), argv)


def parser() -> ArgumentParser:
    """Return the argument parser of `python -m export`."""
    return subcommand_parser("python -m export", __doc__, COMMANDS)
