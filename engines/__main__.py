"""Build an engine for this machine, verify it, and describe this machine: `python -m engines --help`."""

from __future__ import annotations

if __name__ == "__main__":
    # this runs before the other imports, so that a signal during those also ends without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("engines.__main__"))

import argparse
from collections.abc import Sequence

from engines.cli import build, doctor, verify

# A command is a module with HELP, add_arguments(parser) and command(parsed arguments).
COMMANDS = {"build": build, "verify": verify, "doctor": doctor}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0, and raises UserError for a mistake that the user can correct (argparse exits with 2)."""
    args = parser().parse_args(argv)
    args.command(args)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `python -m engines`."""
    whole = argparse.ArgumentParser(prog="python -m engines", description=__doc__)
    subcommands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        subcommand = subcommands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(command=module.command)
    return whole
