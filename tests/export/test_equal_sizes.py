"""Graphs in which a batch has the size of another axis, or two other axes have one size, against the torch model.

Optimisers that recognise an axis by its size then take images for heads, tokens or local groups, and mix them.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import exporting
from export.blocks import block_form, block_graph
from export.exporting import FORMS, build_graph
from export.fp16.convert import to_fp16
from export.graph import with_batch
from export.int8.quantize import calibrate, with_qdq
from prune.model.architecture import Architecture, BlockArchitecture, unpruned
from prune.model.transreid import TransReID
from prune.model.variants import VARIANTS, Variant
from runtime.spec import InputSpec

BATCHES = (*range(1, 10), 12, 16, 24)
# 4 x 2 patches and the class token: 9 tokens; local groups of 2 patches
SIZE = {"height": 64, "width": 32}
TINY = {
    # each of BATCHES from 2 is the size of an axis here (see SHAPES), or of two axes together
    "tiny_distinct": Variant(16, 2, 6, 4, 12, True, 0.5, None),
    # every axis of the blocks has 9 elements, like the tokens and the camera table
    "tiny_nines": Variant(9, 2, 1, 9, 9, True, 0.4, None),
    # heads, elements of a head and local groups are 4; width and neurons are 16
    "tiny_fours": Variant(16, 3, 4, 4, 16, False, 0.5, None),
}


def architectures() -> dict[str, Architecture]:
    """Name -> a tiny model: unpruned, pruned (bypass and kv), thinned, with and without the JPM, cameras and necks."""
    distinct = unpruned("tiny_distinct", cameras=3, **SIZE)
    # 2 heads, 7 tokens, 8 neurons of 6, 9 and 12
    pruned = distinct.with_blocks((BlockArchitecture((1, 4), (0, 1, 2, 4, 5, 7, 8), 8),))
    fours = unpruned("tiny_fours", cameras=1, jpm=False, neck="after", **SIZE)
    kept = BlockArchitecture((2,), (0, 3, 5, 6), 4)
    thinned = dataclasses.replace(fours, mode="kv").with_blocks(
        (kept, BlockArchitecture((), ()), fours.blocks[2])
    )
    return {
        "pruned": pruned,
        "thinned, no JPM": thinned,
        "equal axes": unpruned("tiny_nines", cameras=7, neck="after", **SIZE),
    }


@pytest.fixture(scope="module", autouse=True)
def tiny_variants() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, variant in TINY.items():
            patch.setitem(VARIANTS, name, variant)
        yield


def random_model(architecture: Architecture, gain: float = 4.0) -> TransReID:
    """Random weights, large enough that images differ and attention is not uniform."""
    torch.manual_seed(0)
    model = TransReID(architecture).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(gain)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    return model


def specification(architecture: Architecture, **changes) -> InputSpec:
    spec = InputSpec(
        height=architecture.height, width=architecture.width, layout="float-nchw", camera="input"
    )
    return dataclasses.replace(spec, cameras=architecture.cameras, **changes)


def feed(architecture: Architecture, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Images that have nothing in common, each seen by the next row of the camera table."""
    random = np.random.default_rng(seed)
    images = random.standard_normal((count, 3, architecture.height, architecture.width), dtype=np.float32)
    return {"images": images, "camera_ids": np.arange(count) % (architecture.cameras + 2)}


def run(graph: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
    integers = {value.name for value in session.get_inputs() if value.type == "tensor(int32)"}
    taken = {name: value.astype(np.int32) if name in integers else value for name, value in inputs.items()}
    return session.run(None, taken)[0]


def expected(model: TransReID, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The torch model's features, one image at a time: nothing can mix."""
    rows = []
    with torch.no_grad():
        for image, row in zip(inputs["images"], inputs["camera_ids"]):
            rows.append(model(torch.from_numpy(image[None]), torch.tensor([row]))[0])
    return torch.nn.functional.normalize(torch.stack(rows)).numpy()


@pytest.fixture(scope="module")
def exported():
    """(shape's name, form) -> (model, specification, dynamic graph), each traced once."""
    traced: dict[tuple[str, str], tuple] = {}

    def export(name: str, form: str):
        if (name, form) not in traced:
            architecture = architectures()[name]
            model, spec = random_model(architecture), specification(architecture)
            traced[name, form] = (model, spec, build_graph(model, spec, form)[0])
        return traced[name, form]

    return export


CASES = [
    ("pruned", "folded"),
    ("pruned", "reference"),
    ("thinned, no JPM", "folded"),
    ("thinned, no JPM", "reference"),
    ("equal axes", "folded"),
]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_every_batch_equals_the_torch_model_one_image_at_a_time(name, form, exported):
    model, _, dynamic = exported(name, form)
    inputs = feed(model.architecture, max(BATCHES))
    expected_features = expected(model, inputs)
    # the images differ far more than the tolerance, so that a mixed batch cannot pass
    assert np.abs(expected_features[1:] - expected_features[:-1]).max(axis=1).min() > 0.01
    for batch in BATCHES:
        first_images = {key: value[:batch] for key, value in inputs.items()}
        for graph in (dynamic, with_batch(dynamic, batch)):
            assert np.abs(run(graph, first_images) - expected_features[:batch]).max() < 1e-5, batch


@pytest.mark.parametrize(("name", "form"), CASES)
def test_other_precisions_equal_the_torch_model_at_every_batch(name, form, exported):
    """FP16, and INT8 for each target, with ranges measured at a fixed batch as the command does."""
    model, _, dynamic = exported(name, form)
    inputs = feed(model.architecture, max(BATCHES))
    expected_features = expected(model, inputs)
    batches_of_four = [
        {key: value[at : at + 4] for key, value in inputs.items()} for at in range(0, max(BATCHES), 4)
    ]
    ranges = calibrate(with_batch(dynamic, 4), batches_of_four)
    for batch in BATCHES:
        first_images, graph = (
            {key: value[:batch] for key, value in inputs.items()},
            with_batch(dynamic, batch),
        )
        lowered = {"onnxruntime": with_qdq(graph, ranges, target="onnxruntime")}
        if batch in (1, 4, 6, 9):
            lowered |= {
                target: with_qdq(graph, ranges, target=target) for target in ("tensorrt", "tensorrt8")
            }
            lowered["fp16"] = to_fp16(graph)
        for kind, quantised_graph in lowered.items():
            # what INT8 loses depends on the processor; mixed images have cosines far below either number
            least = 0.999 if kind == "fp16" else 0.97
            assert (run(quantised_graph, first_images) * expected_features[:batch]).sum(
                axis=1
            ).min() > least, (kind, batch)


def test_a_fixed_batch_has_the_dynamic_graph_with_a_number_written_in(monkeypatch):
    """The fixed batch reaches no optimiser, which could take it for another axis of the same size."""
    raw_graphs = []
    simplified = exporting.simplified
    monkeypatch.setattr(exporting, "simplified", lambda raw: raw_graphs.append(raw) or simplified(raw))
    architecture = unpruned("tiny_fours", cameras=1, jpm=False, **SIZE)
    spec = specification(architecture, batch=4)
    fixed = build_graph(random_model(architecture), spec, "folded")[0]
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in raw_graphs[0].graph.input] == [0, 0]
    sizes = [value.type.tensor_type.shape.dim[0] for value in [*fixed.graph.input, *fixed.graph.output]]
    assert [size.dim_value for size in sizes] == [4, 4, 4] and not fixed.graph.value_info


def test_a_block_that_latency_is_measured_on_takes_every_batch():
    """Two heads of four, seven of nine tokens, twelve neurons: `--blocks` files, run at a batch that equals each."""
    architecture = unpruned("tiny_fours", cameras=1, **SIZE)
    graph, form = block_graph(architecture, 2, 7, 12), block_form(architecture, 2, 7, 12)
    x = torch.randn(max(BATCHES), architecture.tokens, architecture.vit.width)
    with torch.no_grad():
        expected_features = torch.cat([form(x[[index]]) for index in range(len(x))]).numpy()
    for batch in BATCHES:
        for candidate in (graph, with_batch(graph, batch)):
            assert (
                np.abs(run(candidate, {"x": x[:batch].numpy()}) - expected_features[:batch]).max() < 1e-5
            ), batch


@pytest.mark.full
@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_full_size_variants_equal_the_torch_model_at_every_batch(variant, form):
    """Real widths and depths on small pictures; batches equal heads, local groups, tokens and patches."""
    architecture = unpruned(variant, cameras=2, **SIZE)
    model = random_model(architecture, gain=1.0)
    dynamic = build_graph(model, specification(architecture), form)[0]
    inputs = feed(architecture, 16)
    expected_features = expected(model, inputs)
    for batch in (*range(1, 10), 12, 16):
        first_images = {key: value[:batch] for key, value in inputs.items()}
        assert (
            np.abs(run(with_batch(dynamic, batch), first_images) - expected_features[:batch]).max() < 1e-5
        ), batch
    graph = with_batch(dynamic, architecture.vit.heads)
    first_images = {key: value[: architecture.vit.heads] for key, value in inputs.items()}
    lowered = with_qdq(graph, calibrate(graph, [first_images]), target="onnxruntime")
    assert (run(lowered, first_images) * expected_features[: architecture.vit.heads]).sum(axis=1).min() > 0.9
