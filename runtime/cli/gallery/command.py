"""`python -m runtime gallery`: the commands of a gallery, which stores features durably."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runtime.cli.gallery import add, erase, exchange, index, migrate, search_gallery, upkeep

HELP = "store, search and delete features in a gallery"

# Each command has a help text, a function that adds its arguments, and one that runs it with the parsed arguments.
COMMANDS = {
    "add": (add.HELP, add.add_arguments, add.command),
    "search": (search_gallery.HELP, search_gallery.add_arguments, search_gallery.command),
    "delete": (erase.DELETE_HELP, erase.add_delete_arguments, erase.delete),
    "expire": (erase.EXPIRE_HELP, erase.add_expire_arguments, erase.expire),
    "verify": (upkeep.VERIFY_HELP, upkeep.add_arguments, upkeep.verify),
    "compact": (upkeep.COMPACT_HELP, upkeep.add_arguments, upkeep.compact),
    "info": (upkeep.INFO_HELP, upkeep.add_arguments, upkeep.info),
    "index": (index.HELP, index.add_arguments, index.command),
    "merge": (exchange.MERGE_HELP, exchange.add_merge_arguments, exchange.merge),
    "migrate": (migrate.HELP, migrate.add_arguments, migrate.command),
    "export": (exchange.EXPORT_HELP, exchange.add_export_arguments, exchange.export),
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the commands of a gallery to `parser`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (text, add_its_arguments, run) in COMMANDS.items():
        subcommand = commands.add_parser(name, help=text)
        add_its_arguments(subcommand)
        subcommand.set_defaults(gallery_command=run)


def command(args: Namespace) -> None:
    """Run the command of a gallery that the parsed `args` name."""
    args.gallery_command(args)
