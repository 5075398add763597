"""The command lines of the demo's steps, and the contents of its report, which come from the output of these steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.demo.cameras import SEQUENCE, Identified, identify_command, read_identified
from benchmarks.demo.page import Contents
from benchmarks.demo.rankings import ADVICE, choose_queries, visible_shares
from benchmarks.demo.results import read_models
from benchmarks.people.index import read_index
from benchmarks.stats.precisions import as_group, average_precisions, group_by_visibility
from benchmarks.steps import ROOT, run
from runtime.console import note
from runtime.errors import DataError
from runtime.features import load_features

DATA = Path("data/anny_reid")
TEACHER = Path("data/hybrid_lite/model.safetensors")
MODELS = ("unpruned-plain", "unpruned", "pruned", "pruned-fp16", "pruned-int8")
# unpruned-plain computes the same features as unpruned.
EXTRACTED = ("unpruned", "pruned")
FOLDERS = {"query": "query", "gallery": "bounding_box_test", "twins": "twins"}


def steps(out: Path) -> dict[str, list[str]]:
    """Return a dictionary that maps the name of each step to its command line, in the order in which the steps run.

    A command line is a list of arguments for `python`. All files are written below the folder `out`.
    """
    pruned, onnx = out / "pruned", {name: f"{out}/{name}.onnx" for name in MODELS}
    inputs = ["--config", "configs/prune/hybrid.yaml", "--weights", str(TEACHER), "--data", str(DATA)]
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
    commands["identify"] = identify_command(onnx["pruned-int8"], out)
    return commands


def run_step(name: str, command: Sequence[str]) -> tuple[str, float]:
    """Run `python` with the arguments `command`. Return what it printed to stdout, and its duration in seconds.

    The `name` of the step is printed to stderr first. Raises StepFailed, with the exit code of the command, if the command fails.
    """
    note(f"[{name}]")
    started = time.monotonic()
    return run(command), time.monotonic() - started


def gather(
    results: dict[str, Any],
    out: Path,
    seconds: dict[str, float],
    *,
    label: str,
    no_video: str | None = None,
) -> Contents:
    """Collect the contents of the report from the output of the steps and from the files that they wrote.

    `results` maps the name of a step to its JSON output, and `seconds` to its duration. `out` is the folder of the files, relative to
    the project. `label` is the text that says that the people are synthetic. `no_video` is the reason why `identify` was left out
    (None: it ran).
    """
    folder = ROOT / out
    identified: Identified | str = no_video or ""
    if no_video is None:
        identified = read_identified(results["identify"], folder / "identities.jsonl", ROOT / SEQUENCE)
    index = read_index(ROOT / DATA, advice=ADVICE, refusal=DataError)["images"]
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
        label=label,
        models=read_models(results, folder),
        ranked_queries=ranked_queries,
        gallery_size=gallery_size,
        occluded=occluded,
        unoccluded=unoccluded,
        token_map_image=largest_person(ROOT / DATA, list(index)),
        read_image=lambda name: (ROOT / DATA / name).read_bytes(),
        identified=identified,
        commands={name: command for name, command in steps(out).items() if name in seconds},
        seconds=seconds,
        host=results["bench"]["host"],
        warnings=results["bench"]["warnings"],
    )


def largest_person(data: Path, names: Sequence[str]) -> str:
    """Return the name of the unoccluded query image in which the person covers the most pixels.

    The folder twins/ of the data set has each query image again, with nothing in front of the person. `data` is the folder of the
    data set, and `names` has the names of all its images, such as twins/NAME.jpg, in the order of masks.npz.
    """
    with np.load(data / "masks.npz", allow_pickle=False) as masks:
        pixels = np.unpackbits(masks["visible"], axis=1).sum(axis=1)
    unoccluded = [(int(pixels[row]), name) for row, name in enumerate(names) if name.startswith("twins/")]
    return max(unoccluded)[1]
