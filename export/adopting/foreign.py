"""Read an ONNX file that another project wrote, and describe its input and output. Changes nothing that it computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import TensorProto

from runtime.errors import ArtifactError, ConfigError
from runtime.files.manifest import sha256
from runtime.wording import reason_of

# The types that an image input may have.
INPUT_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
}
STANDARD = ("", "ai.onnx")
# Loops could run for ever, and no re-identification model needs them. An If with a constant condition is folded later.
LOOPS = {"Loop", "Scan", "SequenceMap"}
QUANTISED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
}
# A protobuf message holds less than 2 GiB.
LARGEST_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class Foreign:
    """An ONNX model of another project with one image input and one chosen output.

    - `path`, `sha256`: the file. `external`: {name: sha256} of the files beside it that hold its weights.
    - `model`: the model, with its weights; `graph.output` is the chosen output only.
    - `input`, `output`: the names. `type`: the element type of the input, a key of INPUT_TYPES.
    - `layout`: "nchw" or "nhwc". `batch`, `height`, `width`: the fixed sizes of the input; None where the file takes any.
    """

    path: Path
    sha256: str
    external: dict[str, str]
    model: onnx.ModelProto
    input: str
    output: str
    type: int
    layout: str
    batch: int | None
    height: int | None
    width: int | None

    @property
    def half(self) -> bool:
        """Whether the model holds tensors in FP16."""
        graph = self.model.graph
        return self.type == TensorProto.FLOAT16 or any(
            tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer
        )

    @property
    def opset(self) -> int:
        """The version of the standard operators that the model uses."""
        return max(int(opset.version) for opset in self.model.opset_import if opset.domain == "")


def read_foreign(path: Path, *, output: str | None = None, layout: str | None = None) -> Foreign:
    """Read the ONNX file at `path`; `output` is the name of the wanted output and `layout` that of its input ("nchw", "nhwc").

    Raises ArtifactError for a file that is missing, damaged or cannot be adopted, and ConfigError if `output` or `layout` must be
    given, or do not fit the file.
    """
    model, external = _loaded(path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _refuse_operators(path, model)
    _short_domains(model)
    _own_initializers(model)
    (name, kind, sizes), chosen = _image_input(path, model), _output(path, model, output)
    order = _layout(path, sizes, layout)
    keep = [value for value in model.graph.output if value.name == chosen]
    del model.graph.output[:]
    model.graph.output.extend(keep)
    batch, *rest = sizes
    height, width = rest[1:] if order == "nchw" else rest[:2]
    return Foreign(path, sha256(path), external, model, name, chosen, kind, order, batch, height, width)


def _loaded(path: Path) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Return the model with the weights of its external files, and {name: sha256} of these files."""
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; give an ONNX file")
    again = "export it again from its own project, as one ONNX file"
    try:
        # Without the format, the end of the file's name would choose a parser of JSON or text.
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read as an ONNX file ({reason_of(error)}); {again}") from None
    if not model.graph.node or not any(opset.domain in STANDARD for opset in model.opset_import):
        raise ArtifactError(f"{path}: is not an ONNX model: it has no standard operators; {again}")
    places = sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    try:
        # This refuses files outside the folder of the model, and links.
        onnx.load_external_data_for_model(model, str(path.parent))
        external = {place: sha256(path.parent / place) for place in places}
        size = model.ByteSize()
    # The loader raises OSError, ValueError, its own ValidationError and others.
    except Exception as error:
        raise ArtifactError(
            f"{path}: its weights in {', '.join(places) or 'another file'} cannot be read ({reason_of(error)}); put the file beside "
            f"the model, or {again}"
        ) from None
    if size > LARGEST_BYTES:
        raise ArtifactError(
            f"{path}: has {size / 2**30:.1f} GiB of weights, but one ONNX file holds at most 2 GiB"
        )
    return model, external


def _refuse_operators(path: Path, model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    special = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in STANDARD})
    if special:
        raise ArtifactError(
            f"{path}: uses the operators {', '.join(special[:5])}, which are no standard ONNX; export it again from its own project "
            "without plugins, and without optimising it for one library"
        )
    if loops := sorted({node.op_type for node in nodes} & LOOPS):
        raise ArtifactError(f"{path}: contains {', '.join(loops)}; only models without loops can be adopted")
    if quantised := sorted({node.op_type for node in nodes} & QUANTISED):
        raise ArtifactError(
            f"{path}: contains {', '.join(quantised)}, so it is quantised already; give the float model, and --precision int8"
        )


def _short_domains(model: onnx.ModelProto) -> None:
    """Give the standard operators the shorter one of their two names, "" for "ai.onnx"; in place."""
    for entry in [*model.opset_import, *model.graph.node]:
        if entry.domain == "ai.onnx":
            entry.domain = ""


def _own_initializers(model: onnx.ModelProto) -> None:
    """Remove the weights from the list of inputs, where exporters of before 2019 list them as well; in place."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    # IR versions below 4 require the weights among the inputs.
    model.ir_version = max(model.ir_version, 4)


def _image_input(path: Path, model: onnx.ModelProto) -> tuple[str, int, list[int | None]]:
    """Return (name, element type, four sizes) of the only input; a size is None where the file takes any."""
    inputs = model.graph.input
    if len(inputs) != 1:
        names = ", ".join(f"{value.name} {_shape_text(value)}" for value in inputs) or "none"
        raise ArtifactError(
            f"{path}: has the inputs {names}, but only a model with a single image input can be adopted; export it again without the "
            "others"
        )
    (value,) = inputs
    kind = value.type.tensor_type.elem_type
    if kind not in INPUT_TYPES:
        name = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else str(kind)
        raise ArtifactError(
            f"{path}: its input {value.name} is {name}; only {', '.join(INPUT_TYPES.values())} can be adopted"
        )
    sizes = _sizes(value)
    if len(sizes) != 4:
        raise ArtifactError(
            f"{path}: its input {value.name} is {_shape_text(value)}, no batch of images with four dimensions; give a model of images"
        )
    return value.name, kind, sizes


def _output(path: Path, model: onnx.ModelProto, wanted: str | None) -> str:
    names = [value.name for value in model.graph.output]
    listed = ", ".join(f"{value.name} {_shape_text(value)}" for value in model.graph.output)
    if wanted is not None and wanted not in names:
        raise ConfigError(f"--output-name {wanted}: {path} has the outputs {listed}; give one of them")
    if wanted is None and len(names) != 1:
        raise ConfigError(f"{path} has the outputs {listed}; name the embedding with --output-name")
    return wanted if wanted is not None else names[0]


def _layout(path: Path, sizes: list[int | None], wanted: str | None) -> str:
    """Return the layout of the input; the axis of 3 channels shows it unless both or none of the two can be one."""
    possible = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if sizes[axis] in (3, None)]
    fixed = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if sizes[axis] == 3]
    shape = [size or "any" for size in sizes]
    if wanted is not None:
        if wanted not in possible:
            raise ConfigError(
                f"--layout {wanted}: {path} takes {shape}, which is not this layout of 3 channels; leave it out"
            )
        return wanted
    candidates = fixed or possible
    if not candidates:
        raise ArtifactError(
            f"{path}: takes {shape}, but an image of 3 channels has a 3 as its second or last size"
        )
    if len(candidates) > 1:
        raise ConfigError(f"{path} takes {shape}, which may be either layout; give --layout nchw or nhwc")
    return candidates[0]


def _sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Return the sizes of a tensor's axes, None for an unknown one. A size below 1 counts as unknown."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _shape_text(value: onnx.ValueInfoProto) -> str:
    return f"({', '.join(str(size or 'any') for size in _sizes(value))})"
