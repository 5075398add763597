"""Run an exported graph on crops, and insert a projection before its final L2-normalisation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.int8.calibration import Calibration
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.errors import ArtifactError
from runtime.session import Session
from runtime.spec import InputSpec

NAME = "projection"


def with_projection(graph: onnx.ModelProto, matrix: NDArray[np.float32]) -> onnx.ModelProto:
    """Return a copy of the FP32 `graph` whose features are multiplied by `matrix` (D, dim) before their L2-normalisation.

    The length of a feature does not matter to the result, so the normalisation that the graph ends with is moved, not repeated. Raises
    ArtifactError if the graph does not end with an L2-normalisation.
    """
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    nodes = result.graph.node
    (output,) = result.graph.output
    division = next((node for node in nodes if output.name in node.output), None)
    source = division.input[0] if division is not None and division.op_type == "Div" else None
    norm = next((node for node in nodes if node.op_type == "ReduceL2" and node.input[0] == source), None)
    if division is None or source is None or norm is None:
        raise ArtifactError(
            "the graph does not end with an L2-normalisation, so --dim cannot be added; export without --dim, and report this as a "
            "bug of this project"
        )
    for node in (division, norm):
        node.input[0] = f"{NAME}_features"
    product = helper.make_node(
        "MatMul", [source, f"{NAME}_weight"], [f"{NAME}_features"], name=f"{NAME}_MatMul"
    )
    nodes.insert(min(list(nodes).index(node) for node in (division, norm)), product)
    result.graph.initializer.append(numpy_helper.from_array(matrix, f"{NAME}_weight"))
    output.type.tensor_type.shape.dim[1].dim_value = matrix.shape[1]
    return result


@contextmanager
def graph_session(graph: onnx.ModelProto, spec: InputSpec) -> Iterator[Session]:
    """Yield a session that runs `graph` with ONNX Runtime on the CPU; `spec` is its input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(graph, path)
        yield open_onnxruntime(path, spec)


def features_of(session: Session, crops: Calibration) -> NDArray[np.float32]:
    """Return the features (N, D) float32, L2-normalised, that the session gives for the crops."""
    parts = [session(feed["images"], feed.get("camera_ids")) for feed in crops]
    return np.concatenate(parts)[: len(crops.images)]
