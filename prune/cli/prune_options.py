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
    """The parsed command line of prune.py: the model to prune (`weights`), the data set, the search and the output folder `out`.

    `data` is the folder of the data set and `layout` its layout; None means the value of the configuration. `evaluate` says which
    models are scored on query and gallery, with `batch` images per batch: those before and after pruning (both), only the pruned
    one (after) or none. If `search` is None, the configuration says how many heads, tokens, MLP neurons and blocks are removed.
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
    """Return the parsed command line. Raises ConfigError if the result would overwrite a file, or if options contradict each other."""
    parser = ArgumentParser(prog="prune.py", description=description)
    add_config_options(parser, required=True)
    parser.add_argument(
        "--weights", required=True, help="the model to prune: a model.safetensors or a published .pth"
    )
    parser.add_argument("--data", help="the folder of the data set (default: data.root of the configuration)")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the folder for the pruned model and the results"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in DIR; give the same options as before",
    )
    parser.add_argument(
        "--layout",
        help="layout of the data set, such as market1501 (default: data.layout of the configuration)",
    )
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
        help="images per batch in the evaluation (default: %(default)s)",
    )
    _add_search_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
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
        "--search",
        action="store_true",
        help="search for how much each block keeps, so that the model reaches --goal",
    )
    parser.add_argument(
        "--goal",
        metavar="latency_ms=MS|macs=COUNT|map=0..1",
        help="for --search: at most MS milliseconds or COUNT multiply-adds per image, or at least this mAP",
    )
    parser.add_argument(
        "--over",
        metavar="LIST",
        help=f"for --search: what may be removed, separated by commas (default: {','.join(AXES)}); "
        "the published method AMG removes only heads,tokens",
    )
    parser.add_argument(
        "--latency-table",
        type=Path,
        metavar="JSON",
        help="for --search: a table that python -m benchmarks.latency_table measured on the target device; "
        "--goal latency_ms needs it",
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
