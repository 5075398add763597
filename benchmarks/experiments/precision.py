"""`python -m benchmarks.experiments.precision`: the accuracy and size of each precision.

Every file of a model is evaluated on the synthetic test set and on other people.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.experiments.precision"))

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host
from benchmarks.steps import run as run_step
from runtime.console import print_table
from runtime.errors import ConfigError
from runtime.files.manifest import read_manifest, replacing
from runtime.stopping import keeping

# name of a file -> the options of export_onnx.py
FILES: dict[str, list[str]] = {
    "fp32": [],
    "fp16": ["--precision", "fp16", "--target", "tensorrt"],
    "int8": ["--precision", "int8"],
    "int8trt": ["--precision", "int8", "--target", "tensorrt"],
    "int8trt8": ["--precision", "int8", "--target", "tensorrt8"],
}
SPLITS = ("test", "all")
SCORES = ("mAP", "R1")


def row(
    model: str, file: str, onnx: Path, anny: dict[str, Any], other: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the row of one file: its size, scores, gate numbers and, for INT8, the sensitivity table of its manifest."""
    manifest = read_manifest(onnx)
    sensitivity = manifest.get("sensitivity")
    rounded = manifest["gate"].get("rounded")
    return {
        "model": model,
        "file": file,
        "precision": manifest["precision"],
        "sha256": manifest["sha256"],
        "bytes": onnx.stat().st_size,
        "anny_reid": {name: anny[name] for name in SCORES},
        "other": {split: {name: found["plain"][name] for name in SCORES} for split, found in other.items()},
        "gate": manifest["gate"]["numbers"],
        "gate_rounded_to_fp16": rounded["numbers"] if rounded else None,
        "int8_groups": len(sensitivity["int8"]) if sensitivity else None,
        "sensitivity": sensitivity,
    }


def measure(models: Mapping[str, Path], data: str, other: str, work: Path) -> list[dict[str, Any]]:
    """Export the files that `work` does not have yet, and return the row of every file."""
    onnx = {(model, file): work / f"{model}.{file}.onnx" for model in models for file in FILES}
    for (model, file), path in onnx.items():
        if not path.exists():
            run_step(["export_onnx.py", str(models[model]), "--out", str(path), *FILES[file]])
    every = [str(path) for path in onnx.values()]
    transfers: dict[str, list[dict[str, Any]]] = {}
    for split in SPLITS:
        words = ["-m", "benchmarks.experiments.transfer", *every, "--data", other, "--split", split, "--json"]
        transfers[split] = json.loads(run_step(words))["models"]
    rows = []
    for number, ((model, file), path) in enumerate(onnx.items()):
        anny = json.loads(run_step(["-m", "runtime", "evaluate", str(path), "--data", data, "--json"]))
        rows.append(row(model, file, path, anny, {split: transfers[split][number] for split in SPLITS}))
    return rows


@dataclass(frozen=True)
class PrecisionOptions:
    """The models (name -> weights) that are exported into `work`, the data sets they are scored on, and the result file."""

    models: Mapping[str, Path]
    data: str
    other: str
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> PrecisionOptions:
    """Parse the command line. ConfigError for a model that is not NAME=M.safetensors."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.precision", description=main.__doc__
    )
    parser.add_argument("--model", action="append", required=True, metavar="NAME=M.safetensors")
    parser.add_argument("--data", default="data/anny_reid", metavar="ROOT")
    parser.add_argument(
        "--other",
        required=True,
        metavar="ROOT",
        help="a data set of people and cameras that the models were not trained on",
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the files; existing files are reused"
    )
    parser.add_argument("--out", type=Path, required=True, help="result file (.json)")
    args = parser.parse_args(argv)
    models = {name: Path(path) for name, _, path in (text.partition("=") for text in args.model)}
    if any(path.suffix != ".safetensors" for path in models.values()):
        raise ConfigError("--model: give NAME=M.safetensors, such as teacher=data/demo/model.safetensors")
    return PrecisionOptions(models, args.data, args.other, args.work, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Export models in every precision, run every file on the CPU, and write scores, gate numbers and sensitivity tables."""
    return run(parse(argv))


def run(options: PrecisionOptions) -> int:
    """Export the missing files, score all files, and write and print the scores."""
    options.work.mkdir(parents=True, exist_ok=True)
    with keeping(
        lambda: f"the files exported so far are kept in {options.work}; the same command continues from there"
    ):
        rows = measure(options.models, options.data, options.other, options.work.resolve())
    document = {
        "host": describe_host(device="cpu", threads=None),
        "other": Path(options.other).name,
        "rows": rows,
    }
    with replacing(options.out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    shown = [
        [one["model"], one["file"], f"{one['anny_reid']['mAP']:.1%}", f"{one['anny_reid']['R1']:.1%}"]
        for one in rows
    ]
    print_table("precision", ["model", "file", "mAP", "R1"], shown)
    return 0
