"""The dialects of foreign ONNX files: each gives the same features once adopted, or one clear refusal."""

import dataclasses
import io
import shutil
import warnings

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

from export.adopting.adopt import _in_float32
from export.adopting.foreign import read_foreign
from export.adopting.graph import adopted_graph, multiply_adds
from export.adopting.original import Original
from export.adopting.pixels import Pixels
from export.graph import quiet
from export.int8.groups import groups
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.errors import ArtifactError, ConfigError
from runtime.spec import InputSpec
from tests.fakes import foreign as fake

CROPS = fake.crops()
BGR = Pixels("bgr", (0.3, 0.4, 0.5), (0.2, 0.25, 0.3))
SPEC = InputSpec(fake.HEIGHT, fake.WIDTH)
EXPECTED = fake.features(CROPS, color="bgr", mean=BGR.mean, std=BGR.std)


def adopted(path, folder, pixels=BGR, spec=SPEC, *, dim=fake.DIM, **reading):
    """The features of the adopted graph, of the original by the numpy path, and the graph with its batch."""
    foreign = _in_float32(read_foreign(path, **reading))
    graph, batch = adopted_graph(foreign, pixels, spec, dim=dim)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, folder / "adopted.onnx")
    ours = open_onnxruntime(folder / "adopted.onnx", spec)(CROPS)
    return ours, Original(foreign, pixels)(CROPS), graph, batch


@pytest.mark.parametrize(
    ("options", "reading"),
    [
        ({}, {}),
        ({"layout": "nhwc"}, {}),
        ({"batch": 1}, {}),
        ({"batch": 4}, {}),
        ({"size": False}, {}),
        ({"opset": 11}, {}),
        ({"opset": 9, "listed": True}, {}),
        ({"opset": 20}, {}),
        ({"opset": 22}, {}),
        ({"name": "images"}, {}),
        ({"ending": "map"}, {}),
        ({"ending": "map", "batch": 1}, {}),
        ({"ending": "unit"}, {}),
        ({"ending": "two"}, {"output": "embedding"}),
    ],
    ids=str,
)
def test_every_dialect_gives_the_features_of_torch(options, reading, tmp_path):
    path = fake.write(tmp_path / "foreign.onnx", **options)
    ours, original, graph, batch = adopted(path, tmp_path, **reading)
    assert np.abs(original - EXPECTED).max() < 1e-6 and np.abs(ours - EXPECTED).max() < 1e-6
    assert batch is None and [value.name for value in graph.graph.input] == ["images"]
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert [value.name for value in graph.graph.output] == ["features"]
    names = [node.name for node in graph.graph.node]
    assert all(names) and len(set(names)) == len(names)


def test_half_precision_is_adopted_in_float32(tmp_path):
    path = fake.write(tmp_path / "half.onnx", kind="float16")
    foreign = read_foreign(path)
    assert foreign.half and not _in_float32(foreign).half
    ours, original, graph, _ = adopted(path, tmp_path)
    assert np.abs(ours - original).max() < 1e-6 and 1e-6 < np.abs(ours - EXPECTED).max() < 5e-3
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in graph.graph.initializer}


def test_a_model_that_takes_uint8_gets_the_pixels_as_they_are(tmp_path):
    raw = Pixels("bgr", (0.0,) * 3, (1 / 255,) * 3)
    expected = fake.features(CROPS, color="bgr", mean=(0, 0, 0), std=(1, 1, 1))
    for layout in ("nchw", "nhwc"):
        path = fake.write(tmp_path / f"{layout}.onnx", kind="uint8", layout=layout)
        ours, original, *_ = adopted(path, tmp_path, raw)
        assert np.abs(ours - expected).max() < 1e-6 and np.abs(original - expected).max() < 1e-6


def test_weights_beside_the_file_are_taken_into_the_one_file(tmp_path):
    path = tmp_path / "foreign.onnx"
    onnx.save(fake.model(), path, save_as_external_data=True, location="foreign.weights", size_threshold=0)
    assert list(read_foreign(path).external) == ["foreign.weights"]
    ours, original, graph, _ = adopted(path, tmp_path)
    assert np.abs(ours - EXPECTED).max() < 1e-6
    assert all(tensor.data_location != TensorProto.EXTERNAL for tensor in graph.graph.initializer)
    (tmp_path / "foreign.weights").unlink()
    with pytest.raises(ArtifactError, match=r"foreign\.weights"):
        read_foreign(path)


def test_weights_outside_the_folder_are_not_read(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    onnx.save(
        fake.model(), inside / "m.onnx", save_as_external_data=True, location="m.weights", size_threshold=0
    )
    shutil.move(inside / "m.weights", tmp_path / "m.weights")
    model = onnx.load(inside / "m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../m.weights" if entry.key == "location" else entry.value
    (inside / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="weights"):
        read_foreign(inside / "m.onnx")


def test_a_fixed_batch_is_the_users_choice_or_the_files(tmp_path):
    path = fake.write(tmp_path / "foreign.onnx")
    fixed = InputSpec(fake.HEIGHT, fake.WIDTH, batch=4)
    ours, _, graph, batch = adopted(path, tmp_path, spec=fixed)
    assert batch == 4 and np.abs(ours - EXPECTED).max() < 1e-6
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    # where the images of a batch change each other's features, only the batch of the file gives the features of the file
    mixed = fake.write(tmp_path / "mixed.onnx", batch=1, ending="mixed")
    ours, original, _, batch = adopted(mixed, tmp_path, spec=dataclasses.replace(SPEC, batch=1))
    assert batch == 1 and np.abs(ours - EXPECTED).max() < 1e-6 and np.abs(original - EXPECTED).max() < 1e-6
    assert adopted(mixed, tmp_path)[3] == 1
    with pytest.raises(ConfigError, match="--batch 8"):
        adopted_graph(read_foreign(mixed), BGR, dataclasses.replace(SPEC, batch=8), dim=fake.DIM)


def test_a_class_token_of_one_image_is_one_for_every_image(tmp_path):
    path = fake.write(tmp_path / "token.onnx", batch=1, ending="token")
    ours, original, graph, batch = adopted(path, tmp_path, dim=fake.DIM + 1)
    assert batch is None and "Concat" not in {node.op_type for node in graph.graph.node}
    assert np.abs(ours - original).max() < 1e-6 and np.abs(ours[:, 0] - ours[:, -1]).max() > 0.1


def transformer(*, depth=2, width=24, dynamic):
    """A small ViT with a class token, as torch's older exporter writes it, and the torch module."""
    network = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=0,
        img_size=(fake.HEIGHT, fake.WIDTH),
        patch_size=8,
        depth=depth,
        embed_dim=width,
    ).eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return exported(network, dynamic=dynamic), network


def exported(network, *, dynamic):
    """The ONNX file of a torch module, as torch's older exporter writes it."""
    file, axes = io.BytesIO(), {"x": {0: "b"}, "y": {0: "b"}} if dynamic else None
    images = torch.zeros(1, 3, fake.HEIGHT, fake.WIDTH)
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), file, dynamo=False, opset_version=17, **names)
    return file.getvalue()


class SequenceFirst(torch.nn.Module):
    """A transformer like that of CLIP, with packed projections and the batch as the second axis inside."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 8, 8)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 16))
        self.attention = torch.nn.MultiheadAttention(16, 4)
        self.linear = torch.nn.Linear(16, 16)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(patches.shape[0], -1, -1), patches], 1).permute(1, 0, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.linear(tokens).permute(1, 0, 2)[:, 0]


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_transformer_of_another_project_takes_any_batch(dynamic, tmp_path):
    content, network = transformer(dynamic=dynamic)
    (tmp_path / "vit.onnx").write_bytes(content)
    half = Pixels("rgb", (0.5,) * 3, (0.5,) * 3)
    ours, _, graph, batch = adopted(tmp_path / "vit.onnx", tmp_path, half, dim=24)
    images = (torch.from_numpy(CROPS).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(network(images)).numpy()
    assert batch is None and np.abs(ours - expected).max() < 1e-5
    assert [name for name in groups(graph) if name.startswith("block1.")] == [
        f"block1.{part}" for part in ("qkv", "proj", "fc1", "fc2")
    ]


@pytest.mark.parametrize(("dynamic", "kept"), [(True, None), (False, 1)])
def test_a_batch_in_the_middle_is_freed_if_the_original_takes_any_batch(dynamic, kept, tmp_path):
    torch.manual_seed(0)
    network = SequenceFirst().eval()
    (tmp_path / "clip.onnx").write_bytes(exported(network, dynamic=dynamic))
    half = Pixels("rgb", (0.5,) * 3, (0.5,) * 3)
    ours, _, _, batch = adopted(tmp_path / "clip.onnx", tmp_path, half, dim=16)
    images = (torch.from_numpy(CROPS).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(network(images)).numpy()
    assert batch == kept and np.abs(ours - expected).max() < 1e-5


def test_multiply_adds_are_counted(tmp_path):
    graph = adopted(fake.write(tmp_path / "foreign.onnx"), tmp_path)[2]
    maps = (fake.HEIGHT // 2) * (fake.WIDTH // 2), (fake.HEIGHT // 4) * (fake.WIDTH // 4)
    expected = maps[0] * 8 * 27 + maps[1] * 16 * 72 + 128 * fake.DIM
    assert multiply_adds(graph) == expected
    # for one image, also where the batch is fixed
    fixed = adopted(tmp_path / "foreign.onnx", tmp_path, spec=dataclasses.replace(SPEC, batch=4))[2]
    assert multiply_adds(fixed) == expected


def test_a_product_with_a_vector_is_counted_too():
    nodes = [helper.make_node("MatMul", ["images", "vector"], ["features"])]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 6, 5])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 6])
    vector = numpy_helper.from_array(np.ones(5, np.float32), "vector")
    assert (
        multiply_adds(helper.make_model(helper.make_graph(nodes, "g", [images], [features], [vector]))) == 30
    )


def test_the_longer_name_of_the_standard_operators_is_read(tmp_path):
    model = fake.model()
    model.opset_import[0].domain = model.graph.node[0].domain = "ai.onnx"
    onnx.save(model, tmp_path / "m.onnx")
    ours, _, graph, _ = adopted(tmp_path / "m.onnx", tmp_path)
    assert np.abs(ours - EXPECTED).max() < 1e-6 and [entry.domain for entry in graph.opset_import] == [""]
    model.opset_import[0].domain = "ai.onnx.ml"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="standard operators"):
        read_foreign(tmp_path / "m.onnx")


def test_a_batch_inside_the_size_of_a_resize_is_kept(tmp_path):
    model = fake.model(batch=2)
    first = next(index for index, node in enumerate(model.graph.node) if node.output[0] == "c1.relu")
    shape = np.array([2, 8, fake.HEIGHT // 2, fake.WIDTH // 2], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(shape, "sizes"))
    model.graph.node.insert(first + 1, helper.make_node("Resize", ["c1.relu", "", "", "sizes"], ["resized"]))
    model.graph.node[first + 2].input[0] = "resized"
    onnx.save(model, tmp_path / "m.onnx")
    ours, _, _, batch = adopted(tmp_path / "m.onnx", tmp_path)
    assert batch == 2 and np.abs(ours - EXPECTED).max() < 1e-6


def changed(change, **options):
    model = fake.model(**options)
    change(model)
    return model


def plugin(model):
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("cam_label", TensorProto.INT64, ["N"]))


def double(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def quantised(model):
    model.graph.node[0].op_type = "QLinearConv"


def loop(model):
    model.graph.node[0].op_type = "Loop"


def gray(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def flat(model):
    del model.graph.input[0].type.tensor_type.shape.dim[1:]


@pytest.mark.parametrize(
    ("model", "error", "word"),
    [
        (changed(plugin), ArtifactError, "com.microsoft"),
        (changed(second_input), ArtifactError, "cam_label"),
        (changed(double), ArtifactError, "double"),
        (changed(quantised), ArtifactError, "quantised"),
        (changed(loop), ArtifactError, "Loop"),
        (changed(gray), ArtifactError, "3 channels"),
        (changed(flat), ArtifactError, "four dimensions"),
        (fake.model(ending="two"), ConfigError, "embedding.*scores"),
    ],
    ids=["plugin", "second input", "double", "quantised", "loop", "gray", "flat", "two outputs"],
)
def test_what_cannot_be_adopted_is_refused_in_one_line(model, error, word, tmp_path):
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(error, match=word) as refusal:
        read_foreign(tmp_path / "m.onnx")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"no protobuf at all", b"PK\x03\x04", fake.model().SerializeToString()[:500]]
)
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match="ONNX"):
        read_foreign(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="no such file"):
        read_foreign(tmp_path / "absent.onnx")


def test_an_output_that_is_no_vector_is_refused(tmp_path):
    model = fake.model()
    model.graph.output[0].name = "c2.relu"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="--output-name"):
        Original(read_foreign(tmp_path / "m.onnx"), BGR)(CROPS)


def test_a_wrong_size_is_refused_by_name(tmp_path):
    foreign = read_foreign(fake.write(tmp_path / "m.onnx", size=False))
    with pytest.raises(ArtifactError, match="--size"):
        Original(foreign, BGR)(np.repeat(CROPS, 2, axis=1))


def test_a_layout_that_the_file_does_not_show_is_asked_for(tmp_path):
    model = fake.model()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[3].dim_value = 3
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="--layout"):
        read_foreign(tmp_path / "m.onnx")
    assert read_foreign(tmp_path / "m.onnx", layout="nchw").width == 3
    with pytest.raises(ConfigError, match="--layout nhwc"):
        read_foreign(fake.write(tmp_path / "n.onnx"), layout="nhwc")


def test_sizes_that_depend_on_pixels_are_refused(tmp_path):
    model = fake.model()
    nodes = [
        helper.make_node("NonZero", ["features"], ["where"]),
        helper.make_node("Cast", ["where"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["numbers"], ["most"], keepdims=0),
        helper.make_node("Add", ["features", "most"], ["moved"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "moved"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "unused"))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="NonZero"):
        adopted_graph(read_foreign(tmp_path / "m.onnx"), BGR, SPEC, dim=fake.DIM)
