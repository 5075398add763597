"""Measure the CPU time of models, and compare it with that of a single matrix product in the same precision, FP32 or INT8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidate import facts
from benchmarks.latency_table.calls import noise
from runtime.artifact import Artifact
from runtime.errors import ArtifactError
from runtime.host import stopwatch
from runtime.options.backends import ONNX_BACKENDS

SIDE = 2048
# The precision of a model -> the operator and input types of the matrix product that it is compared with.
PRODUCTS = {"fp32": ("MatMul", np.float32, np.float32), "int8": ("MatMulInteger", np.uint8, np.int8)}


def product(folder: Path, precision: str, threads: int | None) -> Callable[[int], object]:
    """Return a function that multiplies two 2048 x 2048 matrices in ONNX Runtime, and returns the product.

    The second matrix is a constant of the ONNX file, like the weights of a model. The function ignores its argument, the number of the
    round. `precision` is "fp32" or "int8", and the ONNX file is written to `folder`. The function uses `threads` threads, or as many
    as ONNX Runtime chooses if `threads` is None.
    """
    import onnx
    from onnx import helper, numpy_helper

    from runtime.backends.onnxruntime import open_graph

    operator, left, right = PRODUCTS[precision]
    random = np.random.default_rng(0)
    x = random.integers(0, 127, (SIDE, SIDE)).astype(left)
    weight = random.integers(-127, 127, (SIDE, SIDE)).astype(right)
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in (left, np.int32)]
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
    """Return the number of multiplications plus additions in one call with `batch` images, from the manifest of `artifact`.

    Raises ArtifactError if the manifest has no such number.
    """
    manifest = artifact.manifest
    macs = (manifest.get("macs") or {}).get(f"macs_{manifest.get('form')}")
    if macs is None:
        raise ArtifactError(
            f"{artifact.path}: its manifest has no count of multiply-adds; export the model again"
        )
    return float(2 * macs * batch)


def model_call(artifact: Artifact, batch: int) -> Callable[[int], object]:
    """Return a function that runs the model on `batch` images of random pixels, and returns their features.

    The function ignores its argument, the number of the round. A model with an input for camera ids uses its mean camera embedding.
    """
    images, spec = noise(artifact.spec, batch), artifact.spec
    ids = np.full(batch, spec.mean_camera, np.int64) if spec.camera == "input" else None
    return lambda turn: artifact.run(images, ids)


def measure(artifacts: Sequence[Artifact], *, threads: int, batch: int, rounds: int) -> dict[str, Any]:
    """Time the models `artifacts` and one matrix product for each precision in PRODUCTS, and return {products, models}.

    Both values are lists, with one dictionary for each matrix product and for each model. Each dictionary has the median CPU time of a
    call in ms (`cpu_ms`) and the 10^9 operations per CPU second (`gops`), from `rounds` calls on `threads` threads. The `share` of a
    model is its `gops`, divided by the `gops` of the matrix product in the precision in which the model is computed. It is None if
    this precision is neither FP32 nor INT8.
    """
    with tempfile.TemporaryDirectory() as folder:
        calls = [product(Path(folder), precision, threads) for precision in PRODUCTS]
        calls += [model_call(artifact, batch) for artifact in artifacts]
        samples = stopwatch.interleave(calls, rounds=rounds)
    ms = [float(np.median(times.cpu_ms)) for times in samples]
    peaks = {key: 2e-6 * SIDE**3 / value for key, value in zip(PRODUCTS, ms)}
    models = []
    for artifact, value in zip(artifacts, ms[len(PRODUCTS) :]):
        rate, known = operations(artifact, batch) / value / 1e6, facts(artifact)
        # No product is measured for a backend that computes an FP32 file in bf16.
        peak = (
            peaks.get(known["precision"])
            if ONNX_BACKENDS[known["engine"]].arithmetic == "fp32" or known["precision"] == "int8"
            else None
        )
        models.append(known | {"cpu_ms": value, "gops": rate, "share": None if peak is None else rate / peak})
    products = [
        {"precision": key, "side": SIDE, "cpu_ms": value, "gops": peaks[key]}
        for key, value in zip(PRODUCTS, ms)
    ]
    return {"products": products, "models": models}
