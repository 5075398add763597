"""Build an engine for this machine, verify it, and say what this machine is: `python -m engines --help`."""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("engines.__main__"))

import argparse
from collections.abc import Sequence

from engines.cli import build, doctor, verify

# A command is a module with HELP, add_arguments(parser) and command(parsed arguments).
COMMANDS = {"build": build, "verify": verify, "doctor": doctor}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns 0; raises a UserError for what a person can mend (argparse exits 2)."""
    args = parser().parse_args(argv)
    args.command(args)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m engines`."""
    whole = argparse.ArgumentParser(prog="python -m engines", description=__doc__)
    subcommands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        subcommand = subcommands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(command=module.command)
    return whole
