"""`python -m benchmarks.experiments.search_report`: compare the mAP and latency of pruning methods.

The pruned models of one method, made with several seeds, form a group. For example, the models of one group were pruned with the
budget search of prune.py, which chooses a size for each block. The models of another group lost the same fraction of every block.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.search_report"))

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.search.picture import COLOURS, picture
from benchmarks.host import describe_host
from benchmarks.labels import interval_text
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class SearchReportOptions:
    """The command line: `groups` maps the name of a method to the folders of its prune.py runs, one for each seed.

    `table` is the latency table that predicts the times of the pruned models, and `model` the unpruned model of that table. Each model
    is timed for `rounds` calls. `data` is the folder of a data set on which the mAP of each group is compared with that of the first
    group, with a 95 % interval of the difference. If `data` is None, this comparison is left out. The results are written
    to `out` (JSON) and `picture` (SVG).
    """

    groups: Mapping[str, Sequence[Path]]
    table: Path
    model: Path
    rounds: int
    data: Path | None
    out: Path
    picture: Path


def read_groups(words: Sequence[str]) -> dict[str, list[Path]]:
    """Parse arguments of the form `NAME=DIR,DIR,..`, and return a dictionary that maps each name to its folders.

    Raises ConfigError for another form, for a folder that has no finished run of prune.py, and for more groups than the chart has
    colours.
    """
    groups = {}
    for word in words:
        name, _, folders = word.partition("=")
        paths = [Path(folder) for folder in folders.split(",") if folder]
        if not name or not paths or not all((path / "result.json").is_file() for path in paths):
            raise ConfigError(
                f"{word}: this is not a group of finished runs; give NAME=DIR,DIR,.. with folders in which prune.py wrote a "
                "result.json"
            )
        groups[name] = paths
    if len(groups) > len(COLOURS):
        raise ConfigError(
            f"{len(groups)} groups were given, but the picture has only {len(COLOURS)} colours; compare fewer groups"
        )
    return groups


def parse(argv: Sequence[str] | None) -> SearchReportOptions:
    """Parse a command line into options. Raises ConfigError for a group whose folders are not finished runs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.search_report", description=main.__doc__
    )
    parser.add_argument(
        "groups",
        nargs="+",
        metavar="NAME=DIR,DIR,..",
        help="the name of a pruning method, and the folders of its prune.py runs, one for each seed",
    )
    parser.add_argument(
        "--table",
        type=Path,
        required=True,
        metavar="TABLE.json",
        help="the latency table that predicts the times of the models",
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="the unpruned model that the table was measured on",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=60,
        metavar="N",
        help="number of timed runs of each model (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="folder of a data set: also report each group's mAP minus that of the first group on it, with a 95 %% interval",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="R.json", help="the file to write the result to"
    )
    parser.add_argument(
        "--picture", type=Path, required=True, metavar="R.svg", help="the file to write the picture to"
    )
    args = parser.parse_args(argv)
    return SearchReportOptions(
        read_groups(args.groups), args.table, args.model, args.rounds, args.data, args.out, args.picture
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Export, time and compare the pruned models of several methods, and write one JSON document and one picture."""
    return run(parse(argv))


def run(options: SearchReportOptions) -> int:
    """Measure every group of pruned models, write the results and the chart, and print the means as a table. Returns exit code 0."""
    from benchmarks.experiments.search.measured import against_first, group_of, reference_of

    reference = reference_of(options.table, options.model)
    about, rounds = reference.about, options.rounds
    groups = [group_of(name, folders, reference, rounds=rounds) for name, folders in options.groups.items()]
    if options.data is not None:
        for group, difference in zip(groups, against_first(options.groups, options.data)):
            group["against_first"] = difference
    result = {"host": describe_host(device="cpu", threads=about["threads"]), "groups": groups}
    result |= {"whole_ms": about["model_ms"], "engine": about["engine"]}
    text = json.dumps(result, indent=1) + "\n"
    for path, content in ((options.out, text), (options.picture, picture(result))):
        with replacing(path) as temporary:
            temporary.write_text(content)
    rows = [
        [
            group["name"],
            f"{group['mAP']['mean']:.1%}",
            f"{group['predicted_ms']['mean']:.2f}",
            f"{group['measured_ms']['mean']:.2f}",
            interval_text(group.get("against_first")),
        ]
        for group in groups
    ]
    names = ["method", "mAP", "predicted ms", "measured ms", "mAP against the first (95 %)"]
    print_table("mean over the seeds", names, rows)
    return 0
