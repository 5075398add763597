"""From a torch form to one static, simplified ONNX model. Knows nothing of accuracy or manifests."""

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
# The IR version that opset 18 needs, which every ONNX Runtime from 1.14 on reads. The exporter of torch 2.14 would write 10, which
# ONNX Runtime reads from 1.18 on only, and a newer torch may write more.
IR_VERSION = 8
# What a pruned graph must never hold: data-dependent shapes, control flow, boolean masks, scatters.
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
    """Inputs of the right shapes and types for `spec`."""
    if spec.layout == "uint8-nhwc":
        images = torch.zeros(batch, spec.height, spec.width, 3, dtype=torch.uint8)
    else:
        images = torch.zeros(batch, 3, spec.height, spec.width)
    return (images, torch.zeros(batch, dtype=torch.int64)) if spec.camera == "input" else (images,)


def to_onnx(form: nn.Module, spec: InputSpec) -> onnx.ModelProto:
    """The form as an ONNX model (opset 18), inputs `images` [, `camera_ids`], output `features`; the batch is always dynamic.

    Optimisers recognise axes by their sizes. One rule of onnxscript turns Reshape, MatMul, Reshape into one MatMul wherever the
    sizes broadcast: with four images and four local groups, or as many images as heads, the product then mixes the images. A
    symbolic batch equals no other axis; `with_batch` fixes it when every optimiser is done.
    """
    # two images, because 0 and 1 would be taken for constants
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
        raise ArtifactError("torch.onnx.export gave no program; this needs torch 2.9 or newer")
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    return model


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy of the model whose symbolic batch is the number `batch` in inputs and outputs; nodes and constants are the same."""
    bound = _copy(model)
    for value in [*bound.graph.input, *bound.graph.output]:
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.dim_param:
            dimension.dim_value = batch
    # intermediate shapes are recorded with the symbol
    del bound.graph.value_info[:]
    return bound


@contextlib.contextmanager
def quiet() -> Any:
    """The exporter logs its progress on stdout and root loggers; ours goes to stderr, and only what matters."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after onnxslim (constants folded, duplicates merged), checked again; ArtifactError when it broke."""
    with quiet():
        slim: onnx.ModelProto = onnxslim.slim(model)
    try:
        onnx.checker.check_model(slim, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(
            f"onnxslim made an invalid graph ({reason_of(error)}); report it with the model"
        ) from None
    slim.ir_version = IR_VERSION
    return slim


def fusible_gelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """x (0.5 (1 + erf)) as (x (1 + erf)) 0.5, in place: the order that ONNX Runtime fuses into one Gelu. Returns `model`."""
    made = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for last in model.graph.node:
        if last.op_type != "Mul":
            continue
        for x, inner in (tuple(last.input), tuple(last.input)[::-1]):
            scaled = made.get(inner)
            if scaled is None or scaled.op_type != "Mul":
                continue
            half = [name for name in scaled.input if name in constants and _is_half(constants[name])]
            rest = [name for name in scaled.input if name not in half]
            if len(half) == len(rest) == 1 and _is_one_plus_erf(made.get(rest[0]), made):
                scaled.input[:] = [x, rest[0]]
                last.input[:] = [inner, half[0]]
    return model


def _is_half(tensor: onnx.TensorProto) -> bool:
    value = onnx.numpy_helper.to_array(tensor)
    return bool(value.size == 1 and value.ravel()[0] == 0.5)


def _is_one_plus_erf(node: onnx.NodeProto | None, made: dict[str, onnx.NodeProto]) -> bool:
    return (
        node is not None
        and node.op_type == "Add"
        and any(name in made and made[name].op_type == "Erf" for name in node.input)
    )


def named_batch(model: onnx.ModelProto, name: str = "batch") -> onnx.ModelProto:
    """The model with its symbolic batch dimension called `name` in inputs and outputs; other recorded shapes are dropped."""
    model = _copy(model)
    for value in [*model.graph.input, *model.graph.output]:
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.dim_param:
            dimension.dim_param = name
    del model.graph.value_info[:]
    return model


def prove_static(model: onnx.ModelProto) -> Counter[str]:
    """Operator counts of a model that is static by construction; ArtifactError with the first reason why it is not.

    No forbidden operator, no external data, native LayerNormalization, and, once the batch is bound to a number, strict shape
    inference gives every tensor a fully known shape.
    """
    counts: Counter[str] = Counter(node.op_type for node in model.graph.node)
    if bad := sorted(FORBIDDEN & set(counts)):
        raise ArtifactError(
            f"the graph is not static: it holds {', '.join(bad)}; export with --form folded or report it"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError("the graph refers to external data; it must be one file")
    if not counts["LayerNormalization"]:
        raise ArtifactError("the graph has no native LayerNormalization; opset 17 or newer is needed")
    bound = with_batch(model, 2)
    try:
        inferred = onnx.shape_inference.infer_shapes(bound, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ArtifactError(f"the graph is not static: {reason_of(error)}") from None
    known = {value.name for value in [*inferred.graph.value_info, *inferred.graph.output] if _is_known(value)}
    for node in inferred.graph.node:
        for name in node.output:
            if name and name not in known:
                raise ArtifactError(
                    f"the graph is not static: {node.op_type} {node.name} gives {name} of unknown shape"
                )
    return counts


def _is_known(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(dimension.HasField("dim_value") for dimension in kind.shape.dim)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
