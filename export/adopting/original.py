"""Run the original model as its own project would: crops normalised with numpy, in batches of the size that its file states.

This is the reference of the gate, so it shares no code with the adopted graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.adopting.foreign import Foreign
from export.adopting.pixels import Pixels
from runtime.backends.onnxruntime import session_options
from runtime.errors import ArtifactError, GateError
from runtime.gate import unit
from runtime.wording import reason_of

BATCH = 8
TYPES: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.UINT8: np.uint8,
}
# Two crops whose features have at least this cosine are called equal.
EQUAL = 0.9999
# A model whose features of different crops have at least this mean cosine has collapsed.
COLLAPSED = 0.995


class Original:
    """A callable: crops (N, H, W, 3) uint8 RGB in, L2-normalised features (N, D) float32 out. It computes what `foreign` computes.

    `pixels` states how the crops are normalised. As a `runtime.session.Session` it ignores camera ids. Raises ArtifactError where
    ONNX Runtime cannot run the model, or where its output is no feature vector of each crop.
    """

    def __init__(self, foreign: Foreign, pixels: Pixels) -> None:
        self.foreign, self.pixels = foreign, pixels
        try:
            self._session = onnxruntime.InferenceSession(
                foreign.model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions share no base class but Exception.
        except Exception as error:
            raise ArtifactError(
                f"{foreign.path}: ONNX Runtime {onnxruntime.__version__} cannot run it (opset {foreign.opset}): {reason_of(error)}; "
                "export it again from its own project, with opset 17 and standard operators"
            ) from None

    def with_pixels(self, pixels: Pixels) -> Original:
        """Return the same model, fed with other pixels; the loaded session is shared."""
        other = object.__new__(Original)
        other.foreign, other.pixels, other._session = self.foreign, pixels, self._session
        return other

    def __call__(
        self, images: NDArray[Any], camera_ids: NDArray[Any] | None = None, /
    ) -> NDArray[np.float32]:
        """Return the features (N, D) float32, L2-normalised, of crops (N, H, W, 3) uint8 RGB."""
        step = self.foreign.batch or BATCH
        parts = [self._run(images[at : at + step]) for at in range(0, len(images), step)]
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise GateError(
                f"{self.foreign.path}: gives NaN or infinite features for {self.pixels}; check its weights and its input"
            )
        return unit(features).astype(np.float32)

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        foreign, count = self.foreign, len(crops)
        if foreign.batch is not None:
            crops = np.concatenate([crops, np.repeat(crops[-1:], foreign.batch - count, axis=0)])
        try:
            (output,) = self._session.run(
                [foreign.output], {foreign.input: own_input(crops, foreign, self.pixels)}
            )
        except Exception as error:
            raise ArtifactError(
                f"{foreign.path}: fails on crops of {crops.shape[1]} x {crops.shape[2]} pixels: {reason_of(error)}; give the size "
                "that it was exported for with --size HEIGHTxWIDTH"
            ) from None
        return _vectors(np.asarray(output), foreign, len(crops))[:count]


def with_true_batch(foreign: Foreign, crops: NDArray[np.uint8], pixels: Pixels) -> Foreign:
    """Return `foreign`, with the batch 1 if its file says that it takes any batch but only runs with one of `crops` at a time.

    An exporter that records the batch in an operator, such as that of a class token, still writes a dynamic batch if it is told to.
    """
    single = replace(foreign, batch=1)
    if foreign.batch is not None or _runs(foreign, crops[:2], pixels) or not _runs(single, crops[:2], pixels):
        return foreign
    return single


def _runs(foreign: Foreign, crops: NDArray[np.uint8], pixels: Pixels) -> bool:
    try:
        Original(foreign, pixels)(crops)
    # It runs, but gives NaN, which `adopt` refuses when it computes the features of all crops.
    except GateError:
        return True
    except ArtifactError:
        return False
    return True


def own_input(crops: NDArray[np.uint8], foreign: Foreign, pixels: Pixels) -> NDArray[Any]:
    """Return crops (N, H, W, 3) uint8 RGB as the input array that the original model expects."""
    if foreign.type == TensorProto.UINT8:
        values: NDArray[Any] = crops
    else:
        scaled = crops.astype(np.float64) / 255
        values = (scaled - np.array(pixels.mean)) / np.array(pixels.std)
    if pixels.color == "bgr":
        values = values[..., ::-1]
    if foreign.layout == "nchw":
        values = np.moveaxis(values, 3, 1)
    return np.ascontiguousarray(values.astype(TYPES[foreign.type]))


def _vectors(output: NDArray[Any], foreign: Foreign, count: int) -> NDArray[np.float32]:
    """Return the output as (count, D); axes of one element are removed."""
    sizes = [size for size in output.shape[1:] if size != 1]
    if output.ndim < 2 or output.shape[0] != count or len(sizes) != 1:
        raise ArtifactError(
            f"{foreign.path}: its output {foreign.output} is {list(output.shape)} for {count} crops, not one feature vector for each; "
            "check --size, name another output with --output-name, or export the model without its last layers"
        )
    return output.reshape(count, -1).astype(np.float32)


def refuse_collapse(features: NDArray[np.float32], pixels: Pixels, where: str) -> dict[str, float]:
    """Return {cosine_between, cosine_spread}: the mean and standard deviation of the cosines between different crops.

    `features` (N, D) are those of different crops. Raises GateError if they are all nearly equal, as they are when pixels are
    normalised twice.
    """
    similar = unit(features) @ unit(features).T
    others = similar[~np.eye(len(similar), dtype=bool)]
    numbers = {"cosine_between": float(others.mean()), "cosine_spread": float(others.std())}
    if others.min() > EQUAL or numbers["cosine_between"] > COLLAPSED:
        raise GateError(
            f"{where}: with {pixels}, the features of different crops are nearly equal (mean cosine {numbers['cosine_between']:.4f}), "
            "so they tell nobody apart; state what the model was trained with (--like, --color, --range, --mean, --std)"
        )
    return numbers


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` in which every FP16 tensor is FP32: weights, inputs, outputs, casts and constants."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.value_info[:]
    for tensor in result.graph.initializer:
        _widen(tensor)
    for value in [*result.graph.input, *result.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in result.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen(attribute.t)
    return result


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(
            helper.make_tensor(tensor.name, TensorProto.FLOAT, values.shape, values.tobytes(), raw=True)
        )
