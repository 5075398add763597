"""`make demo`: prune, export, evaluate and time the shipped model on rendered people, and write an HTML report of the results.

The demo runs the same commands that a user would type.
"""

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
    "The people are synthetic (Anny-ReID, rendered by this project). The small model was trained on such people, and its "
    "convolutional stem on ImageNet photographs. The numbers show how each step changes a model. They do not show how accurate it is "
    "on real people: data/hybrid_lite/README.md has its scores on 74 real people."
)


@dataclass(frozen=True)
class DemoOptions:
    """The command line: `out` is the folder for all files that the demo makes."""

    out: Path


def parse(argv: Sequence[str] | None) -> DemoOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=main.__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo"),
        help="folder for all files that the demo makes (default: %(default)s)",
    )
    return DemoOptions(parser.parse_args(argv).out)


def main(argv: Sequence[str] | None = None) -> int:
    """Prune, export, evaluate and time the shipped model of this project on its rendered people, and write an HTML report."""
    return run(parse(argv))


def run(options: DemoOptions) -> int:
    """Run all steps of the demo, write report.html and result.json to `options.out`, and print a table. Returns exit code 0.

    A relative `options.out` is below the root folder of the project. Raises StepFailed if a step fails.
    """
    from benchmarks.demo.cameras import Identified, why_no_video
    from benchmarks.demo.page import page
    from benchmarks.demo.results import COLUMNS
    from benchmarks.demo.steps import gather, run_step, steps

    out = options.out
    note(LABEL)
    commands = steps(out)
    if (no_video := why_no_video()) is not None:
        note(f"[identify] is left out: {no_video}")
        del commands["identify"]
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {}
    # A stopped demo may have left an unfinished run of prune.py, which prune.py would refuse to replace.
    shutil.rmtree(ROOT / out / "pruned", ignore_errors=True)
    # The gallery of an older demo has features of another model.
    shutil.rmtree(ROOT / out / "identities", ignore_errors=True)
    with keeping(
        lambda: (
            f"{len(seconds)} of {len(commands)} steps were finished; the next demo starts from the first step; "
            f"an older report in {out} is kept"
        )
    ):
        for name, command in commands.items():
            stdout, seconds[name] = run_step(name, command)
            if "--json" in command:
                results[name] = json.loads(stdout)
    contents = gather(results, out, seconds, label=LABEL, no_video=no_video)
    with replacing(ROOT / out / "report.html") as temporary:
        temporary.write_text(page(contents), encoding="utf-8")
    document: dict[str, Any] = {"label": LABEL, "seconds": seconds, "results": results}
    if isinstance(contents.identified, Identified):
        document["identities"] = contents.identified.to_json()
    with replacing(ROOT / out / "result.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    print_table("demo (synthetic people)", list(COLUMNS), [model.row for model in contents.models])
    if isinstance(contents.identified, Identified):
        note(f"{contents.identified} (synthetic people)")
    note(f"finished in {sum(seconds.values()):.0f} s; the report is {out}/report.html")
    return 0
