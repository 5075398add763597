"""`make demo`: run the whole pipeline on rendered people with the commands that a user would type, and write the report."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.demo.page import Contents, page
from benchmarks.demo.rankings import choose_queries, visible_shares
from benchmarks.demo.results import COLUMNS, read_models
from benchmarks.stats.precisions import as_group, average_precisions, group_by_visibility
from benchmarks.steps import ROOT, run
from runtime.console import note, print_table
from runtime.features import load_features
from runtime.files.manifest import replacing
from runtime.stopping import keeping

DATA = Path("data/anny_reid")
TEACHER = Path("data/demo/model.safetensors")
MODELS = ("unpruned-plain", "unpruned", "pruned", "pruned-fp16", "pruned-int8")
# unpruned-plain computes the same features as unpruned.
EXTRACTED = ("unpruned", "pruned")
FOLDERS = {"query": "query", "gallery": "bounding_box_test", "twins": "twins"}
LABEL = (
    "The people are synthetic (Anny-ReID, rendered by this project), and the small model was trained on such people. The numbers "
    "show what every step does to a model. They do not show how accurate a full-size model is on real people."
)


def steps(out: Path) -> dict[str, list[str]]:
    """Return step name -> command line (without the interpreter), in order. All files are written below `out`."""
    pruned, onnx = out / "pruned", {name: f"{out}/{name}.onnx" for name in MODELS}
    inputs = ["--config", "configs/prune/demo.yaml", "--weights", str(TEACHER), "--data", str(DATA)]
    commands = {
        "prune": [
            "prune.py",
            *inputs,
            "--out",
            str(pruned),
            "--evaluate",
            "none",
            "--device",
            "cpu",
            "--json",
        ]
    }
    sources = {
        "unpruned-plain": [str(TEACHER), "--form", "reference"],
        "unpruned": [str(TEACHER)],
        "pruned": [f"{pruned}/model.safetensors"],
        "pruned-fp16": [f"{pruned}/model.safetensors", "--precision", "fp16", "--target", "tensorrt"],
        "pruned-int8": [f"{pruned}/model.safetensors", "--precision", "int8"],
    }
    for name, source in sources.items():
        commands[f"export {name}"] = ["export_onnx.py", *source, "--out", onnx[name]]
    for name in EXTRACTED:
        for side, folder in FOLDERS.items():
            images = ["-m", "runtime", "extract", onnx[name], f"{DATA}/{folder}"]
            commands[f"extract {name} {side}"] = [*images, "--out", f"{out}/{name}.{side}.npz", "--json"]
    evaluate = ["-m", "runtime", "evaluate"]
    # `evaluate` takes a model and a data set, or saved features. The pruned model is evaluated in both ways, with one result.
    for name in ("unpruned-plain", "pruned", "pruned-fp16", "pruned-int8"):
        commands[f"evaluate {name}"] = [*evaluate, onnx[name], "--data", str(DATA), "--json"]
    for step, name in (("evaluate unpruned", "unpruned"), ("evaluate saved features", "pruned")):
        saved = ["--query", f"{out}/{name}.query.npz", "--gallery", f"{out}/{name}.gallery.npz"]
        commands[step] = [*evaluate, *saved, "--json"]
    commands["bench"] = [
        "bench.py",
        *onnx.values(),
        "--device",
        "cpu",
        "--batch",
        "1",
        "--threads",
        "1",
        "--json",
    ]
    return commands


def run_step(name: str, command: Sequence[str]) -> tuple[str, float]:
    """Run a step and return its stdout and its seconds; raises StepFailed with the exit code of a step that fails."""
    note(f"[{name}]")
    started = time.monotonic()
    return run(command), time.monotonic() - started


def gather(results: dict[str, Any], out: Path, seconds: dict[str, float]) -> Contents:
    """Collect the contents of the page from the steps' output and from their files in `out` (relative to the project)."""
    folder = ROOT / out
    index = json.loads((ROOT / DATA / "anny.json").read_text())["images"]
    occluded, unoccluded, ranked_queries, gallery_size = {}, {}, [], (0, 0)
    for name in EXTRACTED:
        query, gallery, unoccluded_query = (load_features(folder / f"{name}.{side}.npz") for side in FOLDERS)
        visible = visible_shares(query, index)
        precisions = average_precisions(query, gallery)
        occluded[name] = group_by_visibility(precisions, visible)
        unoccluded[name] = as_group(average_precisions(unoccluded_query, gallery), 1.0, 1.0)
        if name == "pruned":
            ranked_queries = choose_queries(query, gallery, visible, precisions)
            gallery_size = (len(gallery.pids), len(set(gallery.pids.tolist())))
    return Contents(
        label=LABEL,
        models=read_models(results, folder),
        ranked_queries=ranked_queries,
        gallery_size=gallery_size,
        occluded=occluded,
        unoccluded=unoccluded,
        token_map_image=largest_person(ROOT / DATA, list(index)),
        read_image=lambda name: (ROOT / DATA / name).read_bytes(),
        commands=steps(out),
        seconds=seconds,
        host=results["bench"]["host"],
        warnings=results["bench"]["warnings"],
    )


def largest_person(data: Path, names: Sequence[str]) -> str:
    """Return the unoccluded image in which the person covers the most pixels; `names` are in the order of masks.npz."""
    with np.load(data / "masks.npz", allow_pickle=False) as masks:
        pixels = np.unpackbits(masks["visible"], axis=1).sum(axis=1)
    unoccluded = [(int(pixels[row]), name) for row, name in enumerate(names) if name.startswith("twins/")]
    return max(unoccluded)[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Prune, export, extract, evaluate and benchmark the shipped small model on the shipped rendered people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=main.__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for all files of the demo (runs/demo)"
    )
    out = parser.parse_args(argv).out
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
    contents = gather(results, out, seconds)
    with replacing(ROOT / out / "report.html") as temporary:
        temporary.write_text(page(contents), encoding="utf-8")
    with replacing(ROOT / out / "result.json") as temporary:
        temporary.write_text(
            json.dumps({"label": LABEL, "seconds": seconds, "results": results}, indent=1) + "\n"
        )
    print_table("demo (synthetic people)", list(COLUMNS), [model.row for model in contents.models])
    note(f"finished in {sum(seconds.values()):.0f} s; the report is {out}/report.html")
    return 0
