"""Inspect data sets, extract features, evaluate and search: `python -m runtime --help`."""

from __future__ import annotations

if __name__ == "__main__":
    # This stands before the other imports, so that a signal during them leaves no traceback. `run_main` imports this file a second
    # time, as the module runtime.__main__, and calls its `main`.
    from runtime.entry import run_main

    raise SystemExit(run_main("runtime.__main__"))

import argparse
import warnings
from collections.abc import Sequence

from runtime.cli import choose, evaluate_command, extract, inspect_data, search_command
from runtime.cli.calibrate import command as calibrate
from runtime.cli.gallery import command as gallery

# Each command is a module with HELP, add_arguments(parser) and command(parsed arguments).
COMMANDS = {
    "inspect": inspect_data,
    "extract": extract,
    "evaluate": evaluate_command,
    "search": search_command,
    "choose": choose,
    "gallery": gallery,
    "calibrate": calibrate,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` names and return 0. With `argv` None, the arguments of this process are used.

    Raises UserError for a mistake that the user can correct. For wrong arguments, argparse exits with code 2.
    """
    # Pillow warns of odd metadata in single images; skipped.jsonl lists the images that cannot be used.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    args = _parser().parse_args(argv)
    args.command(args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runtime", description=__doc__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        subcommand = subcommands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(command=module.command)
    return parser
