"""`python -m benchmarks.experiments.precision`: compare the accuracy and file size of models in FP32, FP16 and INT8.

Each exported file is evaluated on the synthetic test set and on a data set of people and cameras that the models were not trained on.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
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

# The name of a kind of file -> the options of export_onnx.py that make it.
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
    """Return the result of one exported file, `onnx`, as a dictionary, which is one row of the result file.

    Its keys are model, file, precision, sha256, bytes, anny_reid, other, gate, gate_rounded_to_fp16, int8_groups and sensitivity.
    `model` is the model's name, and `file` is the kind of file, such as "fp32" or "int8" (a key of FILES). `anny_reid` and `other`
    have the mAP and R1 (0..1) from the arguments: `anny` has the scores on the synthetic test set, and `other` maps each split of the
    other data set to its scores.

    The remaining values come from the manifest. `gate` has the differences from the torch model that the quality gate measured (see
    `runtime.gate.compare`). `gate_rounded_to_fp16` has those of a copy of the file that rounds like a device in FP16. `sensitivity`
    says how much each group of layers changes the features in INT8, and `int8_groups` is the number of groups in INT8. These last
    three values are None for a file that does not have them.
    """
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
        "other": {split: {name: scores["plain"][name] for name in SCORES} for split, scores in other.items()},
        "gate": manifest["gate"]["numbers"],
        "gate_rounded_to_fp16": rounded["numbers"] if rounded else None,
        "int8_groups": len(sensitivity["int8"]) if sensitivity else None,
        "sensitivity": sensitivity,
    }


def measure(models: Mapping[str, Path], data: str, other: str, work: Path) -> list[dict[str, Any]]:
    """Export the files that the folder `work` lacks, evaluate all files, and return the result of each file (see `row`).

    `models` maps a name to the path of the weights. `data` is the folder of the synthetic data set, and `other` that of the other data
    set. Raises StepFailed if a command fails.
    """
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
    """The command line: `models` maps a name to weights, which are exported into the folder `work`.

    `data` and `other` are the folders of the data sets to evaluate on, and `out` is the result file.
    """

    models: Mapping[str, Path]
    data: str
    other: str
    work: Path
    out: Path


def parse(argv: Sequence[str] | None) -> PrecisionOptions:
    """Parse a command line into options. Raises ConfigError for a model that is not NAME=M.safetensors."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.precision", description=main.__doc__
    )
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=M.safetensors",
        help="weights, and their name in the result; the option may be repeated",
    )
    parser.add_argument(
        "--data",
        default="data/anny_reid",
        metavar="ROOT",
        help="folder of the synthetic data set (default: %(default)s)",
    )
    parser.add_argument(
        "--other",
        required=True,
        metavar="ROOT",
        help="folder of a data set of people and cameras that the models were not trained on",
    )
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder for the exported files; files that it already has are used again",
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write the result to (.json)")
    args = parser.parse_args(argv)
    models = {name: Path(path) for name, _, path in (text.partition("=") for text in args.model)}
    if wrong := [text for text in args.model if Path(text.partition("=")[2]).suffix != ".safetensors"]:
        raise ConfigError(
            f"--model {wrong[0]}: this is not a name and a .safetensors file; give NAME=M.safetensors, such as "
            "unpruned=data/hybrid_lite/model.safetensors"
        )
    return PrecisionOptions(models, args.data, args.other, args.work, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Export models in each precision, evaluate each file on the CPU, and write scores, gate values and sensitivity tables."""
    return run(parse(argv))


def run(options: PrecisionOptions) -> int:
    """Export the files that `options.work` lacks, evaluate all files, write the results to `options.out`, and print the scores."""
    options.work.mkdir(parents=True, exist_ok=True)
    with keeping(
        lambda: f"the files exported so far are kept in {options.work}; the same command exports the others"
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
        [result["model"], result["file"], *(f"{result['anny_reid'][score]:.1%}" for score in SCORES)]
        for result in rows
    ]
    print_table("precision", ["model", "file", "mAP", "R1"], shown)
    return 0
