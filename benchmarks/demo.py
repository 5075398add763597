"""`make demo`: the whole road on rendered people, with the commands a user would type. Knows nothing of models."""

from __future__ import annotations

import argparse
import html
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.console import note, print_table
from runtime.errors import Refusal, guarded
from runtime.manifest import host, replacing

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("data/anny_reid")
TEACHER = Path("data/demo/model.safetensors")
LABEL = (
    "Synthetic people (Anny-ReID, rendered by this project) and a small model trained on such people for twenty minutes: "
    "the numbers show that every step works, not how accurate a full-size model is on real people."
)
COLUMNS = ("model", "GMAC", "MB", "mAP", "R1", "p50 ms", "images/s", "speed")


class StepFailed(Refusal):
    """A command of the demo failed; its own message stands above. Ends with that command's exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def steps(out: Path) -> dict[str, list[str]]:
    """Step name -> command line (without the interpreter), in order; every file lands under `out`."""
    data, pruned = str(DATA), out / "pruned"
    models = {
        "unpruned-plain": (TEACHER, ["--form", "reference"]),
        "unpruned": (TEACHER, []),
        "pruned": (pruned / "model.safetensors", []),
    }
    commands = {
        "prune": [
            "prune.py",
            "--config",
            "configs/prune/demo.yaml",
            "--weights",
            str(TEACHER),
            "--data",
            data,
        ]
        + ["--out", str(pruned), "--evaluate", "none", "--device", "cpu", "--json"],
    }
    for name, (weights, more) in models.items():
        commands[f"export {name}"] = ["export_onnx.py", str(weights), "--out", f"{out}/{name}.onnx", *more]
    for side, folder in (("query", "query"), ("gallery", "bounding_box_test")):
        commands[f"extract {side}"] = ["-m", "runtime", "extract", f"{out}/pruned.onnx", f"{data}/{folder}"]
        commands[f"extract {side}"] += ["--out", f"{out}/{side}.npz", "--json"]
    for name in models:
        commands[f"evaluate {name}"] = [
            "-m",
            "runtime",
            "evaluate",
            f"{out}/{name}.onnx",
            "--data",
            data,
            "--json",
        ]
    saved = ["--query", f"{out}/query.npz", "--gallery", f"{out}/gallery.npz"]
    commands["evaluate saved features"] = ["-m", "runtime", "evaluate", *saved, "--json"]
    files = [f"{out}/{name}.onnx" for name in models]
    commands["bench"] = ["bench.py", *files, "--device", "cpu", "--batch", "1", "--threads", "1", "--json"]
    return commands


def run_step(name: str, command: Sequence[str]) -> tuple[str, float]:
    """(what the command printed on stdout, seconds); StepFailed with its exit code when it fails."""
    note(f"[{name}] python {shlex.join(command)}")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise StepFailed(
            f"demo step '{name}' ended with {done.returncode}; run it alone: {shlex.join(command)}",
            done.returncode,
        )
    return done.stdout, time.monotonic() - started


def rows(results: dict[str, Any], out: Path) -> list[list[str]]:
    """The result table: one row a model; speed is the first model's median time over this one's."""
    timings = {Path(model["path"]).stem: model for model in results["bench"]["models"]}
    first = next(iter(timings.values()))["latency_ms"]["p50"]
    table = []
    for name, timing in timings.items():
        scores = results[f"evaluate {name}"]
        manifest = json.loads((ROOT / out / f"{name}.onnx.json").read_text())
        macs = manifest["macs"][f"macs_{manifest['form']}"]
        p50 = timing["latency_ms"]["p50"]
        size = (ROOT / out / f"{name}.onnx").stat().st_size
        cells = [
            name,
            f"{macs / 1e9:.3f}",
            f"{size / 1e6:.1f}",
            f"{scores['mAP']:.1%}",
            f"{scores['R1']:.1%}",
        ]
        table.append([*cells, f"{p50:.2f}", f"{timing['images_per_s']:.0f}", f"{first / p50:.2f}x"])
    return table


def page(table: list[list[str]], commands: dict[str, list[str]], seconds: dict[str, float]) -> str:
    """A self-contained HTML page: the table, what it is, and every command with its time."""

    def cells(values: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"

    lines = "".join(
        cells([name, f"{seconds[name]:.1f}", "python " + shlex.join(command)], "td")
        for name, command in commands.items()
    )
    machine = host()
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;border-bottom:1px solid #ddd;"
        "text-align:left;vertical-align:top}th{border-bottom:2px solid #888}td:last-child{font-family:monospace;"
        "font-size:12px;word-break:break-all}.models td,.models th{font-family:inherit;font-size:inherit;text-align:right}"
        ".models td:first-child,.models th:first-child{text-align:left}.label{background:#fff6d6;padding:.6rem 1rem;border-radius:6px}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>reid-edge demo</title><style>{style}</style>"
        f"<h1>From a TransReID model to a pruned ONNX file</h1><p class=label>{html.escape(LABEL)}</p>"
        f"<table class=models>{cells(COLUMNS, 'th')}{''.join(cells(row, 'td') for row in table)}</table>"
        "<p>unpruned-plain: the published form as an exporter writes it; unpruned: the same model with its last block "
        "folded exactly; pruned: 25 % of the heads and 25 % of the tokens gone, fine-tuned, folded. Batch 1, one thread, "
        f"interleaved, ONNX Runtime on {html.escape(machine['processor'])}; speed is relative to the first row.</p>"
        f"<h2>The commands</h2><table>{cells(('step', 'seconds', 'command'), 'th')}{lines}</table></html>\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prune, export, extract, evaluate and bench the shipped small model on the shipped rendered people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=main.__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for everything it makes (runs/demo)"
    )
    out = parser.parse_args(argv).out
    note(LABEL)
    commands, seconds, results = steps(out), {}, {}
    for name, command in commands.items():
        printed, seconds[name] = run_step(name, command)
        if "--json" in command:
            results[name] = json.loads(printed)
    table = rows(results, out)
    with replacing(ROOT / out / "report.html") as temporary:
        temporary.write_text(page(table, commands, seconds))
    with replacing(ROOT / out / "result.json") as temporary:
        temporary.write_text(
            json.dumps({"label": LABEL, "seconds": seconds, "results": results}, indent=1) + "\n"
        )
    print_table("demo (synthetic people)", list(COLUMNS), table)
    note(f"{sum(seconds.values()):.0f} s in all; the report: {out}/report.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
