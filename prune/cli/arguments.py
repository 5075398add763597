"""Options that several commands share: how they are parsed, and the frozen objects that they become."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ConfigOptions:
    """Which configuration file is read, and the `section.key=value` overrides of it: what `load_config` takes."""

    path: str
    overrides: tuple[str, ...]


def add_config_options(
    parser: ArgumentParser, *, required: bool = False, text: str = "our YAML or the authors'"
) -> None:
    """`--config` and `--set`."""
    parser.add_argument("--config", required=required, help=text)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", dest="overrides")


def config_options(args: Namespace) -> ConfigOptions:
    """What `add_config_options` parsed, where it was required."""
    return ConfigOptions(args.config, tuple(args.overrides))


def optional_config(args: Namespace) -> ConfigOptions | None:
    """What `add_config_options` parsed; None without `--config`, whose overrides then have nothing to override."""
    return config_options(args) if args.config else None
