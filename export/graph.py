"""Convert a torch model in one of the forms of `export.forms` to a simplified ONNX model with static shapes.

Measures no accuracy.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from typing import Any

import onnx
import onnx.numpy_helper
import onnxslim
import torch
from torch import nn

from runtime.errors import ArtifactError
from runtime.spec import InputSpec
from runtime.wording import reason_of

OPSET = 18
# The IR version of opset 18, which ONNX Runtime 1.14 and newer can read. The exporter of torch 2.14 would write version 10, which
# needs ONNX Runtime 1.18, and a newer torch may write a higher one.
IR_VERSION = 8
# Operators that a pruned graph must never contain: data-dependent shapes, control flow, boolean masks and scatters.
FORBIDDEN = {
    "NonZero",
    "If",
    "Loop",
    "Scan",
    "Compress",
    "Unique",
    "Where",
    "TopK",
    "NonMaxSuppression",
    "RandomNormal",
}
FORBIDDEN |= {"ScatterND", "ScatterElements", "Range", "OneHot", "SequenceAt"}


def example(spec: InputSpec, batch: int) -> tuple[torch.Tensor, ...]:
    """Return inputs of zeros for `batch` images, with the shapes and types of `spec`: (images,) or (images, camera ids)."""
    if spec.layout == "uint8-nhwc":
        images = torch.zeros(batch, spec.height, spec.width, 3, dtype=torch.uint8)
    else:
        images = torch.zeros(batch, 3, spec.height, spec.width)
    return (images, torch.zeros(batch, dtype=torch.int64)) if spec.camera == "input" else (images,)


def to_onnx(form: nn.Module, spec: InputSpec) -> onnx.ModelProto:
    """Return the torch module `form` as an ONNX model of opset 18 with a dynamic batch.

    Its inputs are `images` and, if `spec` has camera ids as an input, `camera_ids`. Its output is `features`. Raises ArtifactError if
    torch exports nothing.

    The batch is dynamic here even if the file gets a fixed one, which `with_batch` sets after all optimisers have run. Optimisers
    recognise axes by their sizes, and a symbolic batch equals no other axis. A fixed batch of 4 could be taken for the axis of the
    four local groups, and a batch of as many images as heads for the axis of the heads. Then the rule of onnxscript that turns
    Reshape, MatMul, Reshape into one MatMul would mix the images.
    """
    # The example has two images, because the exporter would treat 0 and 1 as constants.
    inputs = example(spec, 2)
    names = ["images", "camera_ids"][: len(inputs)]
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    form.eval()
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            form,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["features"],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    if program is None:
        raise ArtifactError("torch.onnx.export returned no program; install torch 2.9 or newer")
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    return model


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a copy of `model` whose symbolic batch is fixed to `batch` in inputs and outputs; nodes and constants stay the same."""
    bound = _copy(model)
    for value in [*bound.graph.input, *bound.graph.output]:
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.dim_param:
            dimension.dim_value = batch
    # The recorded intermediate shapes still contain the symbol.
    del bound.graph.value_info[:]
    return bound


@contextlib.contextmanager
def quiet() -> Any:
    """Silence torch's ONNX exporter inside the `with` block; it prints its progress to stdout and logs warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model simplified by onnxslim, which folds constants and merges duplicates.

    Raises ArtifactError if ONNX's checker refuses the result.
    """
    with quiet():
        slim: onnx.ModelProto = onnxslim.slim(model)
    try:
        onnx.checker.check_model(slim, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(
            f"onnxslim produced an invalid graph ({reason_of(error)}); "
            "please report this as a bug of this project, together with the model"
        ) from None
    slim.ir_version = IR_VERSION
    return slim


def fusible_gelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Reorder every GELU x * (0.5 * (1 + erf(...))) to (x * (1 + erf(...))) * 0.5, which ONNX Runtime fuses into one Gelu node.

    Changes and returns `model`.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for outer in model.graph.node:
        if outer.op_type != "Mul":
            continue
        for x, product in (tuple(outer.input), tuple(outer.input)[::-1]):
            inner = producers.get(product)
            if inner is None or inner.op_type != "Mul":
                continue
            half = [name for name in inner.input if name in constants and _is_half(constants[name])]
            others = [name for name in inner.input if name not in half]
            if len(half) == len(others) == 1 and _is_one_plus_erf(producers.get(others[0]), producers):
                inner.input[:] = [x, others[0]]
                outer.input[:] = [product, half[0]]
    return model


def _is_half(tensor: onnx.TensorProto) -> bool:
    value = onnx.numpy_helper.to_array(tensor)
    return bool(value.size == 1 and value.ravel()[0] == 0.5)


def _is_one_plus_erf(node: onnx.NodeProto | None, producers: dict[str, onnx.NodeProto]) -> bool:
    return (
        node is not None
        and node.op_type == "Add"
        and any(name in producers and producers[name].op_type == "Erf" for name in node.input)
    )


def named_batch(model: onnx.ModelProto, name: str = "batch") -> onnx.ModelProto:
    """Return a copy of `model` in which the symbolic batch axis of every input and output is called `name`.

    The recorded shapes of intermediate tensors (value_info) are removed.
    """
    model = _copy(model)
    for value in [*model.graph.input, *model.graph.output]:
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.dim_param:
            dimension.dim_param = name
    del model.graph.value_info[:]
    return model


def prove_static(model: onnx.ModelProto) -> Counter[str]:
    """Prove that the model is static, and return {operator: number of nodes}; raise ArtifactError if it is not static.

    In a static model, strict shape inference finds the whole shape of every tensor once the batch is a number, and no operator of
    FORBIDDEN occurs. Also raises ArtifactError if the model keeps constants in another file or has no LayerNormalization operator.
    """
    counts: Counter[str] = Counter(node.op_type for node in model.graph.node)
    if forbidden := sorted(FORBIDDEN & set(counts)):
        raise ArtifactError(
            f"the graph is not static: it contains {', '.join(forbidden)}; "
            "export with --form folded, or if that fails too, report this as a bug of this project"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(
            "the graph keeps constants in another file (external data), but an exported model must be one .onnx file; "
            "please report this as a bug of this project"
        )
    if not counts["LayerNormalization"]:
        raise ArtifactError(
            "the graph has no LayerNormalization operator (which ONNX has from opset 17 on); "
            "please report this as a bug of this project"
        )
    if reason := unknown_shape(model):
        raise ArtifactError(
            f"the graph is not static: {reason}; "
            "export with --form folded, or if that fails too, report this as a bug of this project"
        )
    return counts


def unknown_shape(model: onnx.ModelProto, *, batch: int = 2) -> str | None:
    """Return why strict shape inference does not find every shape of `model` once its symbolic batch is `batch`; None if it does."""
    bound = with_batch(model, batch)
    try:
        inferred = onnx.shape_inference.infer_shapes(bound, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        return reason_of(error)
    known = {value.name for value in [*inferred.graph.value_info, *inferred.graph.output] if _is_known(value)}
    for node in inferred.graph.node:
        for name in node.output:
            if name and name not in known:
                return f"the output {name} of {node.op_type} {node.name} has an unknown shape"
    return None


def _is_known(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(dimension.HasField("dim_value") for dimension in kind.shape.dim)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
