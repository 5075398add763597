"""Inspect data sets, extract features, evaluate and search: `python -m runtime --help`."""

from __future__ import annotations

if __name__ == "__main__":
    # This stands before the other imports, so that a signal during them leaves no traceback. `run_main` imports this file a second
    # time, as the module runtime.__main__, and calls its `main`.
    from runtime.entry import run_main

    raise SystemExit(run_main("runtime.__main__"))

import warnings
from collections.abc import Sequence

from runtime.cli import choose, evaluate_command, extract, inspect_data, search_command, serve
from runtime.cli.calibrate import command as calibrate
from runtime.cli.gallery import command as gallery
from runtime.cli.identify import command as identify
from runtime.options.subcommands import run_subcommand, subcommand_parser

COMMANDS = {
    "inspect": inspect_data,
    "extract": extract,
    "evaluate": evaluate_command,
    "search": search_command,
    "choose": choose,
    "gallery": gallery,
    "calibrate": calibrate,
    "identify": identify,
    "serve": serve,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, such as `extract`, as `run_subcommand` does."""
    # Pillow warns of odd metadata in single images; skipped.jsonl lists the images that cannot be used.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return run_subcommand(subcommand_parser("python -m runtime", __doc__, COMMANDS), argv)
