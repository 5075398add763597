"""`python -m benchmarks.experiments.peak MODEL[@BACKEND] ...`: how near a model comes to what this processor's matrix products reach.

One 2048 x 2048 x 2048 product in each arithmetic, by ONNX Runtime, is timed interleaved with the models, in CPU time.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before everything else is imported: that too can be stopped without a traceback
    from runtime.errors import command

    raise SystemExit(command("benchmarks.experiments.peak"))

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.arguments import subjects_of
from benchmarks.candidate import facts, open_subject
from benchmarks.host import describe_host, doubts
from benchmarks.latency_table.calls import noise
from runtime.artifact import Artifact
from runtime.console import note, print_table
from runtime.errors import ArtifactError, ConfigError
from runtime.options.argument_types import positive_integer
from runtime.options.choices import BACKENDS

SIDE = 2048
# a file's precision -> operator and types of the product that it is measured against
PRODUCTS = {"fp32": ("MatMul", np.float32, np.float32), "int8": ("MatMulInteger", np.uint8, np.int8)}


def product(folder: Path, precision: str, threads: int | None) -> Callable[[int], object]:
    """One (SIDE, SIDE) x (SIDE, SIDE) product a call, of which the second factor is constant, as in a model."""
    import onnx
    from onnx import helper, numpy_helper

    from runtime.backends.onnxruntime import open_graph

    operator, left, right = PRODUCTS[precision]
    random = np.random.default_rng(0)
    x = random.integers(0, 127, (SIDE, SIDE)).astype(left)
    weight = random.integers(-127, 127, (SIDE, SIDE)).astype(right)
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(one)) for one in (left, np.int32)]
    out = onnx.TensorProto.FLOAT if precision == "fp32" else kinds[1]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kinds[0], [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", out, [SIDE, SIDE])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = folder / f"{precision}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    run = open_graph(path, threads=threads)
    return lambda turn: run(x)


def operations(artifact: Artifact, batch: int) -> float:
    """Multiplications and additions of one call, as the manifest counts them; ArtifactError where it does not."""
    manifest = artifact.manifest
    macs = (manifest.get("macs") or {}).get(f"macs_{manifest.get('form')}")
    if macs is None:
        raise ArtifactError(f"{artifact.path}: its manifest counts no multiply-adds; export it again")
    return float(2 * macs * batch)


def model_call(artifact: Artifact, batch: int) -> Callable[[int], object]:
    """One call on random pixels, camera `mean` where the model takes cameras."""
    images, spec = noise(artifact.spec, batch), artifact.spec
    ids = np.full(batch, spec.mean_camera, np.int64) if spec.camera == "input" else None
    return lambda turn: artifact.run(images, ids)


def measure(artifacts: Sequence[Artifact], args: argparse.Namespace) -> dict[str, Any]:
    """{products, models}: CPU ms a call and 10^9 operations a CPU-second; a model's `share` of its arithmetic's product."""
    with tempfile.TemporaryDirectory() as folder:
        calls = [product(Path(folder), precision, args.threads) for precision in PRODUCTS]
        calls += [model_call(artifact, args.batch) for artifact in artifacts]
        samples = timing.interleave(calls, rounds=args.rounds)
    ms = [float(np.median(one.cpu_ms)) for one in samples]
    peaks = {key: 2e-6 * SIDE**3 / value for key, value in zip(PRODUCTS, ms)}
    models = []
    for artifact, value in zip(artifacts, ms[len(PRODUCTS) :]):
        rate, known = operations(artifact, args.batch) / value / 1e6, facts(artifact)
        # an engine told to compute an FP32 file in bf16 has no product here
        peak = (
            peaks.get(known["precision"])
            if known["engine"] != BACKENDS[2] or known["precision"] == "int8"
            else None
        )
        models.append(known | {"cpu_ms": value, "gops": rate, "share": None if peak is None else rate / peak})
    products = [
        {"precision": key, "side": SIDE, "cpu_ms": value, "gops": peaks[key]}
        for key, value in zip(PRODUCTS, ms)
    ]
    return {"products": products, "models": models}


def main(argv: Sequence[str] | None = None) -> int:
    """Compare what models compute a second with what single matrix products reach in the same minutes, on the CPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.peak", description=main.__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL[@BACKEND]", help="exported .onnx files")
    parser.add_argument("--batch", type=positive_integer, default=8, metavar="N", help="images a call (8)")
    parser.add_argument(
        "--threads", type=positive_integer, default=1, metavar="N", help="threads of each (1)"
    )
    parser.add_argument("--rounds", type=positive_integer, default=20, metavar="N", help="calls of each (20)")
    parser.add_argument("--allow-ungated", action="store_true", help="run models that passed no quality gate")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of a table")
    parser.set_defaults(device="cpu", backend=BACKENDS[0], torch=[])
    args = parser.parse_args(argv)
    subjects = subjects_of(args)
    if torch := [subject.path for subject in subjects if subject.torch]:
        raise ConfigError(f"{torch[0]}: only exported .onnx files are measured here; bench.py times torch")
    host = describe_host(device="cpu", threads=args.threads)
    for text in doubts(host):
        note(f"WARNING {text}")
    artifacts = [open_subject(subject) for subject in subjects]
    for artifact in artifacts:
        operations(artifact, args.batch)
    document = {"host": host, "batch": args.batch, "threads": args.threads} | measure(artifacts, args)
    if args.json:
        print(json.dumps(document))
        return 0
    rows: list[list[object]] = [
        [
            f"{SIDE}^3 product, {one['precision']}",
            "onnxruntime",
            f"{one['cpu_ms']:.1f}",
            f"{one['gops']:.0f}",
            "",
        ]
        for one in document["products"]
    ]
    for one in document["models"]:
        share = "-" if one["share"] is None else f"{100 * one['share']:.0f} %"
        rows.append([one["path"], one["engine"], f"{one['cpu_ms']:.1f}", f"{one['gops']:.0f}", share])
    names = ["", "engine", "CPU ms", "10^9 operations a CPU-second", "of the product"]
    print_table(f"batch {args.batch}, {args.threads} threads", names, rows)
    return 0
