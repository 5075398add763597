"""One run of a block or of a whole model on a backend, to be timed. Times nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.opening import open_artifact
from runtime.options.choices import BACKENDS
from runtime.spec import InputSpec

Call = Callable[[int], object]


def graph_call(path: Path, engine: str, threads: int | None, x: NDArray[np.float32]) -> Call:
    """One run of a block on `x` (B, N, D) by that engine."""
    if engine == BACKENDS[0]:
        from runtime.backends.onnxruntime import open_graph

        run = open_graph(path, threads=threads)
    else:
        from runtime.backends.openvino import open_graph as open_openvino_graph

        run = open_openvino_graph(
            path, threads=threads, precision="bf16" if engine.endswith("bf16") else "fp32"
        )
    return lambda turn: run(x)


def model_call(model: Path, engine: str, threads: int | None, batch: int) -> Call:
    """One run of the whole model on noise."""
    artifact = open_artifact(model, threads=threads, engine=engine, allow_ungated=True)
    images = noise(artifact.spec, batch)
    ids = np.full(batch, artifact.spec.mean_camera, np.int64) if artifact.spec.camera == "input" else None
    return lambda turn: artifact.run(images, ids)


def noise(spec: InputSpec, batch: int) -> NDArray[Any]:
    """Random pixels in the model's layout, the same in every run."""
    random = np.random.default_rng(0)
    if spec.layout == "uint8-nhwc":
        return random.integers(0, 256, (batch, spec.height, spec.width, 3), dtype=np.uint8)
    return random.standard_normal((batch, 3, spec.height, spec.width), dtype=np.float32)
