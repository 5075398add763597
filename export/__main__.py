"""Adopt an ONNX file of another project. To export a model of this project, run export_onnx.py."""

from __future__ import annotations

if __name__ == "__main__":
    # this stands before the other imports, so that a signal during them leaves no traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("export.__main__"))

import argparse
from collections.abc import Sequence

from export.adopting import cli as adopt

# A command is a module with HELP, add_arguments(parser) and command(parsed arguments).
COMMANDS = {"adopt": adopt}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, such as `adopt`, and return 0. With `argv` None, the arguments of this process are used.

    Raises UserError for a mistake that the user can correct. For wrong arguments, argparse exits with code 2.
    """
    args = parser().parse_args(argv)
    args.command(args)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `python -m export`."""
    whole = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    subcommands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        subcommand = subcommands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(command=module.command)
    return whole
