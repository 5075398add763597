"""The options of `prune.py`, and the parser of its command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.budget_search.goal import AXES, SearchOptions, parse_goal
from prune.cli.arguments import DEVICES, ConfigOptions, add_config_options, config_options
from runtime.errors import ConfigError
from runtime.options.argument_types import positive_integer

BOTH, AFTER, NONE = "both", "after", "none"


@dataclass(frozen=True)
class PruneOptions:
    """The model to prune, the data set, the search and the output folder.

    `data` and `layout` None take the values of the configuration. `evaluate` says whether the models before and after pruning
    (both), only the one after (after) or none are scored on query and gallery, with `batch` images per run. `search` None takes
    the numbers of heads and tokens from the configuration.
    """

    config: ConfigOptions
    weights: str
    data: str | None
    layout: str | None
    out: Path
    resume: bool
    device: str
    evaluate: str
    batch: int
    search: SearchOptions | None
    as_json: bool


def parse(argv: Sequence[str] | None, description: str | None) -> PruneOptions:
    """Parse the command line. Exits with code 2 if it is wrong; ConfigError if the result would overwrite a file."""
    parser = ArgumentParser(prog="prune.py", description=description)
    add_config_options(parser, required=True)
    parser.add_argument(
        "--weights", required=True, help="the model to prune: a model.safetensors or a published .pth"
    )
    parser.add_argument("--data", help="the data set's own folder (default: data.root of the configuration)")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in DIR; give the same options as before",
    )
    parser.add_argument("--layout", help="layout of the data set (default: data.layout of the configuration)")
    parser.add_argument(
        "--evaluate",
        choices=(BOTH, AFTER, NONE),
        default=BOTH,
        help="which models to score on query and gallery: before and after pruning, only after, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=DEVICES,
        help="auto: CUDA if there is a GPU, else the CPU (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=positive_integer,
        default=16,
        metavar="N",
        help="images per run in the evaluation (default: %(default)s)",
    )
    _add_search_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    out = Path(args.out)
    if out.is_file():
        raise ConfigError(f"--out {out} is a file; give a folder")
    if Path(args.weights).resolve() == (out / "model.safetensors").resolve():
        raise ConfigError(f"--out {out}: the result would overwrite --weights; give another folder")
    return PruneOptions(
        config=config_options(args),
        weights=args.weights,
        data=args.data,
        layout=args.layout,
        out=out,
        resume=args.resume,
        device=args.device,
        evaluate=args.evaluate,
        batch=args.batch,
        search=_search(args),
        as_json=args.json,
    )


def _add_search_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--search", action="store_true", help="search for what each block keeps, to reach --goal"
    )
    parser.add_argument(
        "--goal",
        metavar="latency_ms=MS|macs=COUNT|map=0..1",
        help="the limit that the pruned model must reach",
    )
    parser.add_argument(
        "--over",
        metavar="LIST",
        help=f"what the search may remove (default: {','.join(AXES)}); AMG removes heads,tokens",
    )
    parser.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="a table that python -m benchmarks.latency_table measured on the target",
    )


def _search(args: Namespace) -> SearchOptions | None:
    if not args.search:
        if args.goal or args.latency_table or args.over:
            raise ConfigError("--goal, --over and --latency-table need --search; add it")
        return None
    if not args.goal:
        raise ConfigError("--search needs a goal: --goal latency_ms=MS, macs=COUNT or map=0..1")
    over = tuple(args.over.split(",")) if args.over else AXES
    return SearchOptions(parse_goal(args.goal), args.latency_table, over)
