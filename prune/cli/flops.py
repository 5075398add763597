"""`python -m prune.flops`: the multiply-adds and parameters of a model file, or of what a configuration would leave."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prune.cli.arguments import ConfigOptions, add_config_options, optional_config
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from prune.model.architecture import Architecture


@dataclass(frozen=True)
class FlopsOptions:
    """What is counted: a model file, or what a configuration would leave. Exactly one of the two is given."""

    model: str | None
    config: ConfigOptions | None
    as_json: bool


def parse(argv: Sequence[str] | None) -> FlopsOptions:
    """The options of a command line. argparse exits 2 where it is wrong; ConfigError unless one of the two is given."""
    parser = ArgumentParser(prog="python -m prune.flops", description=main.__doc__)
    parser.add_argument("model", nargs="?", help="model.safetensors (its shape is read from the manifest)")
    add_config_options(parser, text="our YAML or the authors'; its fractions are spread uniformly")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    if bool(args.model) == bool(args.config):
        raise ConfigError("give either model.safetensors or --config C")
    return FlopsOptions(args.model, optional_config(args), args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the multiply-adds of a model or a configuration three ways, its parameters, and heads and tokens per block."""
    run(parse(argv))
    return 0


def run(options: FlopsOptions) -> None:
    """Print the numbers as a table or as one JSON document."""
    from prune.model.flops import flops_report
    from runtime.console import print_table

    architecture = _architecture(options)
    numbers = flops_report(architecture)
    if options.as_json:
        print(json.dumps(numbers))
        return
    title = f"{architecture.variant} {architecture.height}x{architecture.width} stride {architecture.stride}"
    print_table(title, ["", ""], _rows(numbers))


def _architecture(options: FlopsOptions) -> Architecture:
    from prune.config.load import load_config
    from prune.model.architecture import Architecture
    from prune.scoring.spread import spread
    from runtime.files.manifest import read_manifest

    if options.config:
        return spread(load_config(options.config.path, options.config.overrides))
    model = str(options.model)
    return Architecture.from_json(read_manifest(model).get("shape", {}), f"{model}.json")


def _rows(numbers: dict[str, Any]) -> list[list[str]]:
    macs = ("macs_paper", "macs_reference", "macs_folded")
    per_block = ("heads", "tokens", "hidden")
    return [
        *([name, f"{numbers[name] / 1e9:.2f} G"] for name in macs),
        ["params", f"{numbers['params'] / 1e6:.2f} M"],
        *([f"{name} per block", " ".join(map(str, numbers[name]))] for name in per_block),
    ]
