"""`python -m benchmarks.experiments.search_report`: mAP against measured latency of pruned models.

It compares models whose budgets were searched with models whose budgets were not, with three seeds each.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.experiments.search_report"))

import argparse
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.host import describe_host
from benchmarks.labels import interval_text
from benchmarks.latency_table.calls import model_call, refuse_gpu
from benchmarks.stats.bootstrap import paired_difference, query_precisions
from benchmarks.steps import run as run_step
from benchmarks.svg import nice_axis
from runtime.console import print_table
from runtime.datasets import read_dataset
from runtime.errors import ConfigError
from runtime.files.manifest import replacing
from runtime.options.argument_types import positive_integer

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 820, 430, 70, 66, 60
COLOURS = ("#0b7a75", "#3b6fb6", "#b45309", "#7c4d9e", "#8b949e", "#c2255c", "#5c940d", "#e0a458")
STYLE = (
    "text{font:13px ui-sans-serif,system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#1b1f24}.soft{fill:#5d6670;font-size:12px}"
    ".title{font-weight:650;font-size:15px}.mid{text-anchor:middle}.end{text-anchor:end}.page{fill:#fff}.grid{stroke:#e2e3de}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ea}.soft{fill:#9aa4ad}.page{fill:#121518}.grid{stroke:#2b3137}}"
)


def read_groups(words: Sequence[str]) -> dict[str, list[Path]]:
    """`NAME=DIR,DIR,..` -> the folders that prune.py wrote; ConfigError for anything else."""
    groups = {}
    for word in words:
        name, _, folders = word.partition("=")
        paths = [Path(folder) for folder in folders.split(",") if folder]
        if not name or not paths or not all((path / "result.json").is_file() for path in paths):
            raise ConfigError(f"{word}: give NAME=DIR,DIR,.. of finished runs of prune.py")
        groups[name] = paths
    if len(groups) > len(COLOURS):
        raise ConfigError(f"{len(groups)} groups, but the picture tells {len(COLOURS)} apart; compare fewer")
    return groups


def exported(folder: Path) -> Path:
    """The run's model as ONNX beside it, exported where it is not there yet."""
    onnx = folder / "model.onnx"
    if not onnx.exists():
        run_step(["export_onnx.py", str(folder / "model.safetensors"), "--out", str(onnx)])
    return onnx.resolve()


def measure(
    whole: Path, folder: Path, about: Mapping[str, Any], predictor: Any, rounds: int
) -> dict[str, Any]:
    """One run: its scores, counts, predicted time, and its time as a share of the whole model's in the same rounds."""
    result = json.loads((folder / "result.json").read_text())["after"]
    flops = result["flops"]
    # without the JPM the last block is listed too, which is never pruned; runs from before MLPs were pruned do not list them
    counts = [flops[key][: about["prunable"]] for key in ("heads", "tokens", "hidden") if key in flops]
    setting = (about["engine"], about["threads"], about["batch"])
    pair = timing.interleave(
        [model_call(path, *setting) for path in (whole, exported(folder))], rounds=rounds
    )
    reference, ms = (float(np.median(one.wall_ms)) for one in pair)
    return {
        "heads": flops["heads"],
        "tokens": flops["tokens"],
        "hidden": flops.get("hidden"),
        "macs_folded": flops["macs_folded"],
        "mAP": result["scores"]["mAP"],
        "R1": result["scores"]["R1"],
        "predicted_ms": predictor.model_ms(*counts),
        # what the whole model took when the table was measured is the common yardstick
        "measured_ms": ms / reference * about["model_ms"],
    }


def against_first(groups: Mapping[str, Sequence[Path]], data: Path) -> list[dict[str, float] | None]:
    """Return the `paired_difference` of every group's mAP from the first group's; None for the first group."""
    dataset = read_dataset(str(data))
    precisions = [
        [query_precisions(exported(folder), dataset) for folder in folders] for folders in groups.values()
    ]
    return [None, *(paired_difference(precisions[0], other) for other in precisions[1:])]


def summed(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A group's runs with the mean and standard deviation over seeds of what is compared."""
    found: dict[str, Any] = {"name": name, "runs": list(runs)}
    for key in ("mAP", "R1", "predicted_ms", "measured_ms", "macs_folded"):
        values = [run[key] for run in runs]
        found[key] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return found


def picture(result: Mapping[str, Any]) -> str:
    """The SVG: a dot per run, mAP against measured milliseconds, a colour per group."""
    runs = [run for group in result["groups"] for run in group["runs"]]
    across = nice_axis([run["measured_ms"] for run in runs], LEFT, WIDTH - 30, margin=0.12)
    up = nice_axis(
        [run["mAP"] for run in runs],
        HEIGHT - BOTTOM,
        TOP + 24 * ((len(result["groups"]) + 1) // 2),
        margin=0.2,
    )
    top = TOP + 24 * ((len(result["groups"]) + 1) // 2) - 8
    parts = []
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{tick:g}", "soft mid"))
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - 30}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{100 * tick:g} %", "soft end"))
    for index, (group, colour) in enumerate(zip(result["groups"], COLOURS)):
        x, y = LEFT + 370 * (index % 2), TOP + 24 * (index // 2)
        parts.append(
            f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}"/>' + _text(x + 12, y, group["name"], "")
        )
        for run in group["runs"]:
            tip = f"{100 * run['mAP']:.1f} %, {run['measured_ms']:.2f} ms"
            parts.append(
                f'<circle cx="{across.at(run["measured_ms"]):.1f}" cy="{up.at(run["mAP"]):.1f}" r="6" fill="{colour}" '
                f'fill-opacity=".75"><title>{html.escape(tip)}</title></circle>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="mAP against latency">'
        f'<style>{STYLE}</style><rect class="page" width="{WIDTH}" height="{HEIGHT}"/>'
        + _text(16, 26, "mAP against measured latency", "title")
        + _text(16, 44, "synthetic people (Anny-ReID), the demo model, a dot per seed", "soft")
        + "".join(parts)
        + _text((LEFT + WIDTH) / 2, HEIGHT - 16, "ms a picture: batch 1, one thread", "soft mid")
        + "</svg>\n"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def main(argv: Sequence[str] | None = None) -> int:
    """Export, time and compare groups of pruned models; writes one JSON document and one picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.search_report", description=main.__doc__
    )
    parser.add_argument(
        "groups", nargs="+", metavar="NAME=DIR,DIR,..", help="runs of prune.py, one for each seed"
    )
    parser.add_argument("--table", type=Path, required=True, metavar="TABLE.json")
    parser.add_argument(
        "--model", type=Path, required=True, metavar="MODEL.onnx", help="the table's own unpruned model"
    )
    parser.add_argument("--rounds", type=positive_integer, default=60, metavar="N")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="a data set: how sure each method's mAP differs from the first's",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="R.json")
    parser.add_argument("--picture", type=Path, required=True, metavar="R.svg")
    args = parser.parse_args(argv)
    groups = read_groups(args.groups)

    from prune.budget_search.latency import read_table
    from prune.model.architecture import Shape

    about = json.loads(args.table.read_text())
    refuse_gpu(about, args.table)
    predictor = read_table(args.table, Shape.from_json(about["model"]["shape"]))
    found = [
        summed(name, [measure(args.model, folder, about, predictor, args.rounds) for folder in folders])
        for name, folders in groups.items()
    ]
    if args.data is not None:
        for one, sure in zip(found, against_first(groups, args.data)):
            one["against_first"] = sure
    result = {"host": describe_host(device="cpu", threads=about["threads"]), "groups": found}
    result |= {"whole_ms": about["model_ms"], "engine": about["engine"]}
    for path, text in ((args.out, json.dumps(result, indent=1) + "\n"), (args.picture, picture(result))):
        with replacing(path) as temporary:
            temporary.write_text(text)
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
