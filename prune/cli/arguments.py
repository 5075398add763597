"""Options that several commands share: parser arguments, and the frozen objects that hold the parsed values."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ConfigOptions:
    """The path of a configuration file, and the `section.key=value` overrides of its values, as `load_config` takes them.

    The path is None only for the commands that can do without a file.
    """

    path: str | None
    overrides: tuple[str, ...]


def add_config_options(
    parser: ArgumentParser,
    *,
    required: bool = False,
    text: str = "configuration file: one of this project, or an authors' .yml",
) -> None:
    """Add the options `--config`, with the help `text`, and `--set` to `parser`."""
    parser.add_argument("--config", required=required, help=text)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        dest="overrides",
        help="override a value of the configuration; may be given several times",
    )


def config_options(args: Namespace) -> ConfigOptions:
    """Return the parsed `--config` and `--set`; the path is None without `--config`."""
    return ConfigOptions(args.config, tuple(args.overrides))
