"""`python -m runtime calibrate`: thresholds and camera means of a gallery."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.calibrate import site, threshold, transfer

HELP = "calibrate a gallery: a threshold, or the means of its cameras"

COMMANDS = {"threshold": threshold, "site": site, "transfer": transfer}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the commands to `parser`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        subcommand = commands.add_parser(name, help=module.HELP)
        module.add_arguments(subcommand)
        subcommand.set_defaults(calibrate_command=module.command)


def command(args: Namespace) -> None:
    """Run the command that the parsed `args` name."""
    args.calibrate_command(args)
