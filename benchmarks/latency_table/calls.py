"""Open a transformer block or a whole model on a CPU backend, and return a function that runs it once, to be timed."""

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
    """Return a function that runs the exported block at `path` once on the tokens `x` (B, N, D), and returns its output.

    The function ignores its argument, the number of the call. `backend` is a name in `runtime.options.choices.BACKENDS`. If `threads`
    is None, the backend uses all cores.
    """
    row = ONNX_BACKENDS[backend]
    run = GRAPH_OPENERS[row.library](path, threads, row.arithmetic)
    return lambda turn: run(x)


def model_call(model: Path, backend: str, threads: int | None, batch: int) -> Call:
    """Return a function that runs the whole model at `model` once on `batch` images of random pixels, and returns its features (B, D).

    The function ignores its argument, the number of the call. `backend` is a name in `runtime.options.choices.BACKENDS`. If `threads`
    is None, the backend uses all cores.
    """
    artifact = open_artifact(model, threads=threads, backend=backend, allow_ungated=True)
    images = noise(artifact.spec, batch)
    ids = np.full(batch, artifact.spec.mean_camera, np.int64) if artifact.spec.camera == "input" else None
    return lambda turn: artifact.run(images, ids)


def noise(spec: InputSpec, batch: int) -> NDArray[Any]:
    """Return `batch` images of random pixels, which are the same in every run.

    For a model whose input layout in `spec` is "uint8-nhwc", they are (B, H, W, 3) uint8, and for any other (B, 3, H, W) float32.
    """
    random = np.random.default_rng(0)
    if spec.layout == "uint8-nhwc":
        return random.integers(0, 256, (batch, spec.height, spec.width, 3), dtype=np.uint8)
    return random.standard_normal((batch, 3, spec.height, spec.width), dtype=np.float32)
