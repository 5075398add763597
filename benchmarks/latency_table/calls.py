"""Make functions that run a transformer block or a whole model once on a CPU backend, so that a stopwatch can time them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.opening import open_artifact
from runtime.options.backends import ONNX_BACKENDS
from runtime.spec import InputSpec

Call = Callable[[int], object]


Graph = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _onnxruntime(path: Path, threads: int | None, arithmetic: str) -> Graph:
    from runtime.backends.onnxruntime import open_graph

    return open_graph(path, threads=threads)


def _openvino(path: Path, threads: int | None, arithmetic: str) -> Graph:
    from runtime.backends.openvino import open_graph

    return open_graph(path, threads=threads, precision=arithmetic)


# Each library of `ONNX_BACKENDS` -> the function that opens a block with it.
GRAPH_OPENERS: dict[str, Callable[[Path, int | None, str], Graph]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def graph_call(path: Path, backend: str, threads: int | None, x: NDArray[np.float32]) -> Call:
    """Return a function that runs the exported block at `path` on the tokens `x` (B, N, D).

    `backend` is a name in `BACKENDS`. If `threads` is None, it uses all cores.
    """
    row = ONNX_BACKENDS[backend]
    run = GRAPH_OPENERS[row.library](path, threads, row.arithmetic)
    return lambda turn: run(x)


def model_call(model: Path, backend: str, threads: int | None, batch: int) -> Call:
    """Return a function that runs the whole model at `model` on `batch` images of random pixels.

    `backend` is a name in `BACKENDS`. If `threads` is None, it uses all cores.
    """
    artifact = open_artifact(model, threads=threads, backend=backend, allow_ungated=True)
    images = noise(artifact.spec, batch)
    ids = np.full(batch, artifact.spec.mean_camera, np.int64) if artifact.spec.camera == "input" else None
    return lambda turn: artifact.run(images, ids)


def noise(spec: InputSpec, batch: int) -> NDArray[Any]:
    """Return `batch` images of random pixels in the layout of `spec`, which are the same in every run."""
    random = np.random.default_rng(0)
    if spec.layout == "uint8-nhwc":
        return random.integers(0, 256, (batch, spec.height, spec.width, 3), dtype=np.uint8)
    return random.standard_normal((batch, 3, spec.height, spec.width), dtype=np.float32)
