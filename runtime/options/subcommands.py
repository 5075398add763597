"""Command lines that consist of subcommands. Each is a module with HELP, add_arguments(parser) and command(parsed arguments)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import ModuleType


def subcommand_parser(
    program: str, description: str | None, commands: Mapping[str, ModuleType]
) -> argparse.ArgumentParser:
    """Return the argument parser of `program`, such as "python -m runtime", whose subcommands are `commands`, {name: module}."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in commands.items():
        subcommand = subcommands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(command=module.command)
    return parser


def run_subcommand(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the subcommand that `argv` names and return 0. With `argv` None, the arguments of this process are used.

    `parser` is a `subcommand_parser`. Raises UserError for a mistake that the user can correct. For wrong arguments, argparse exits
    with code 2.
    """
    args = parser.parse_args(argv)
    args.command(args)
    return 0
