"""`make demo`: run the whole pipeline on rendered people with the commands that a user would type, and write the report."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.steps import ROOT
from runtime.console import note, print_table
from runtime.files.manifest import replacing
from runtime.stopping import keeping

LABEL = (
    "The people are synthetic (Anny-ReID, rendered by this project), and the small model was trained on such people. The numbers "
    "show what every step does to a model. They do not show how accurate a full-size model is on real people."
)


@dataclass(frozen=True)
class DemoOptions:
    """The folder for all files of the demo."""

    out: Path


def parse(argv: Sequence[str] | None) -> DemoOptions:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=main.__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for all files of the demo (runs/demo)"
    )
    return DemoOptions(parser.parse_args(argv).out)


def main(argv: Sequence[str] | None = None) -> int:
    """Prune, export, extract, evaluate and benchmark the shipped small model on the shipped rendered people."""
    return run(parse(argv))


def run(options: DemoOptions) -> int:
    """Run every step, write the report and the result, and print the table."""
    from benchmarks.demo.page import page
    from benchmarks.demo.results import COLUMNS
    from benchmarks.demo.steps import gather, run_step, steps

    out = options.out
    note(LABEL)
    commands = steps(out)
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {}
    # A stopped demo may have left a partial run of prune.py, which prune.py would ask to resume. A demo starts afresh.
    shutil.rmtree(ROOT / out / "pruned", ignore_errors=True)
    with keeping(
        lambda: (
            f"{len(seconds)} of {len(commands)} steps were finished; the demo starts afresh each time; "
            f"an older report in {out} is kept"
        )
    ):
        for name, command in commands.items():
            stdout, seconds[name] = run_step(name, command)
            if "--json" in command:
                results[name] = json.loads(stdout)
    contents = gather(results, out, seconds, label=LABEL)
    with replacing(ROOT / out / "report.html") as temporary:
        temporary.write_text(page(contents), encoding="utf-8")
    with replacing(ROOT / out / "result.json") as temporary:
        temporary.write_text(
            json.dumps({"label": LABEL, "seconds": seconds, "results": results}, indent=1) + "\n"
        )
    print_table("demo (synthetic people)", list(COLUMNS), [model.row for model in contents.models])
    note(f"finished in {sum(seconds.values()):.0f} s; the report is {out}/report.html")
    return 0
