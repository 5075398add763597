"""`python -m benchmarks.experiments.search_report`: compare groups of pruned models.

Each group is one pruning method, for example with and without budget search, run with several seeds. The report shows mAP
against measured latency.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.search_report"))

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.search_picture import COLOURS, picture
from benchmarks.host import describe_host
from benchmarks.labels import interval_text
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer


@dataclass(frozen=True)
class SearchReportOptions:
    """The groups of prune.py runs to compare, and the latency table. With `data`, the differences in mAP get intervals."""

    groups: Mapping[str, Sequence[Path]]
    table: Path
    model: Path
    rounds: int
    data: Path | None
    out: Path
    picture: Path


def read_groups(words: Sequence[str]) -> dict[str, list[Path]]:
    """Return the folders of each group from words of the form `NAME=DIR,DIR,..`; ConfigError for other words."""
    groups = {}
    for word in words:
        name, _, folders = word.partition("=")
        paths = [Path(folder) for folder in folders.split(",") if folder]
        if not name or not paths or not all((path / "result.json").is_file() for path in paths):
            raise ConfigError(f"{word}: give NAME=DIR,DIR,.. of finished runs of prune.py")
        groups[name] = paths
    if len(groups) > len(COLOURS):
        raise ConfigError(
            f"{len(groups)} groups, but the picture has only {len(COLOURS)} colours; compare fewer"
        )
    return groups


def parse(argv: Sequence[str] | None) -> SearchReportOptions:
    """Parse the command line. ConfigError for a group whose folders are not finished runs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.search_report", description=main.__doc__
    )
    parser.add_argument(
        "groups",
        nargs="+",
        metavar="NAME=DIR,DIR,..",
        help="a group and its runs of prune.py, one for each seed",
    )
    parser.add_argument("--table", type=Path, required=True, metavar="TABLE.json")
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="the unpruned model that the table was measured on",
    )
    parser.add_argument("--rounds", type=positive_integer, default=60, metavar="N")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="a data set on which to bootstrap the difference of each group's mAP from the first group's",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="R.json")
    parser.add_argument("--picture", type=Path, required=True, metavar="R.svg")
    args = parser.parse_args(argv)
    return SearchReportOptions(
        read_groups(args.groups), args.table, args.model, args.rounds, args.data, args.out, args.picture
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Export, time and compare groups of pruned models, and write one JSON document and one picture."""
    return run(parse(argv))


def run(options: SearchReportOptions) -> int:
    """Measure every group, and write and print the results."""
    from benchmarks.experiments.searched import against_first, group_of, reference_of

    reference = reference_of(options.table, options.model)
    about, rounds = reference.about, options.rounds
    found = [group_of(name, folders, reference, rounds=rounds) for name, folders in options.groups.items()]
    if options.data is not None:
        for one, sure in zip(found, against_first(options.groups, options.data)):
            one["against_first"] = sure
    result = {"host": describe_host(device="cpu", threads=about["threads"]), "groups": found}
    result |= {"whole_ms": about["model_ms"], "engine": about["engine"]}
    text = json.dumps(result, indent=1) + "\n"
    for path, content in ((options.out, text), (options.picture, picture(result))):
        with replacing(path) as temporary:
            temporary.write_text(content)
    rows = [
        [
            one["name"],
            f"{one['mAP']['mean']:.1%}",
            f"{one['predicted_ms']['mean']:.2f}",
            f"{one['measured_ms']['mean']:.2f}",
            interval_text(one.get("against_first")),
        ]
        for one in found
    ]
    names = ["method", "mAP", "predicted ms", "measured ms", "mAP against the first (95 %)"]
    print_table("mean of the seeds", names, rows)
    return 0
