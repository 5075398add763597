"""`python -m prune.flops`: count the multiply-adds and parameters of a model file, or of the model that a configuration prunes to."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prune.cli.arguments import ConfigOptions, add_config_options, config_options
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from prune.model.architecture import Architecture


@dataclass(frozen=True)
class FlopsOptions:
    """The model file or the configuration whose operations are counted, and the output format.

    One of `model` and `config.path` is None.
    """

    model: str | None
    config: ConfigOptions
    as_json: bool


def parse(argv: Sequence[str] | None) -> FlopsOptions:
    """Return the parsed command line. Raises ConfigError unless exactly one of MODEL and --config is given."""
    parser = ArgumentParser(prog="python -m prune.flops", description=main.__doc__)
    parser.add_argument("model", nargs="?", help="a model.safetensors; only its manifest is read")
    add_config_options(
        parser,
        text="the configuration whose pruned model is counted; what it removes is spread evenly over the blocks",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(argv)
    if bool(args.model) == bool(args.config):
        raise ConfigError("give either a model.safetensors or --config CONFIG.yaml, and not both")
    return FlopsOptions(args.model, config_options(args), args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the multiply-adds of a model, counted in three ways, its parameters, and its heads, tokens and MLP neurons per block."""
    run(parse(argv))
    return 0


def run(options: FlopsOptions) -> None:
    """Print the multiply-adds, the parameters and the sizes of the blocks, as a table or as one JSON document."""
    from prune.model.flops import flops_report
    from runtime.console import print_table

    architecture = _architecture(options)
    counts = flops_report(architecture)
    if options.as_json:
        print(json.dumps(counts))
        return
    title = f"{architecture.variant} {architecture.height}x{architecture.width} stride {architecture.stride}"
    print_table(title, ["", ""], _rows(counts))


def _architecture(options: FlopsOptions) -> Architecture:
    from prune.config.load import load_config, refuse_overrides
    from prune.model.architecture import Architecture
    from prune.scoring.spread import spread
    from runtime.files.manifest import read_manifest

    if options.config.path:
        return spread(load_config(options.config.path, options.config.overrides))
    model = str(options.model)
    refuse_overrides(model, options.config.overrides)
    return Architecture.from_json(read_manifest(model).get("shape", {}), f"{model}.json")


def _rows(counts: dict[str, Any]) -> list[list[str]]:
    macs = ("macs_paper", "macs_reference", "macs_folded")
    per_block = ("heads", "tokens", "hidden")
    return [
        *([name, f"{counts[name] / 1e9:.2f} G"] for name in macs),
        ["params", f"{counts['params'] / 1e6:.2f} M"],
        *([f"{name} per block", " ".join(map(str, counts[name]))] for name in per_block),
    ]
