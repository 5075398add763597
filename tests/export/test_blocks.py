"""The blocks of latency tables: they compute what the torch block does, with the deployed operators, and exports resume."""

import json

import numpy as np
import onnx
import pytest
import torch

from export.blocks import block_form, block_graph, block_sizes, with_precision, write_blocks
from export.fp16.convert import type_conflicts
from prune.model.architecture import unpruned
from runtime.backends.onnxruntime import open_graph
from runtime.errors import ConfigError
from tests.fakes import lite

ARCHITECTURE = lite.architecture()


@pytest.mark.parametrize(
    ("heads", "tokens", "hidden"), [(6, ARCHITECTURE.tokens, 768), (3, 9, 768), (6, 9, 192)]
)
def test_a_file_computes_what_the_torch_block_does(tmp_path, heads, tokens, hidden):
    path = tmp_path / "block.onnx"
    onnx.save(block_graph(ARCHITECTURE, heads, tokens, hidden), path)
    x = np.random.default_rng(0).standard_normal(
        (3, ARCHITECTURE.tokens, ARCHITECTURE.vit.width), dtype=np.float32
    )
    with torch.no_grad():
        expected = block_form(ARCHITECTURE, heads, tokens, hidden)(torch.from_numpy(x)).numpy()
    computed = open_graph(path, threads=1)(x)
    assert computed.shape == expected.shape and np.abs(computed - expected).max() < 1e-4
    widths = {
        tuple(tensor.dims)
        for tensor in onnx.load(path).graph.initializer
        if max(tensor.dims, default=0) >= hidden
    }
    assert any(hidden in dims for dims in widths)


def test_pruned_tokens_skip_the_block_and_the_class_token_never_does():
    block = block_form(ARCHITECTURE, 6, 9)
    x = torch.randn(1, ARCHITECTURE.tokens, ARCHITECTURE.vit.width)
    with torch.no_grad():
        out = block(x)
    same = [(out[0] == x[0, token]).all(dim=1).any().item() for token in range(ARCHITECTURE.tokens)]
    assert sum(same) == ARCHITECTURE.tokens - 9 and not same[0]


def test_the_grid_begins_with_the_unpruned_block_and_has_no_point_twice():
    points = block_sizes(ARCHITECTURE)
    assert points[0] == (6, ARCHITECTURE.tokens, 768) and len(points) == len(set(points)) == 36 + 18
    assert min(tokens for _, tokens, _ in points) >= 2 and min(heads for heads, *_ in points) == 1
    assert {heads for heads, _, hidden in points if hidden < 768} == {6}
    base = {heads for heads, *_ in block_sizes(unpruned("vit_base", stride=12))}
    assert len(base) == 8 and max(base) == 12


def test_an_interrupted_export_goes_on_and_the_index_comes_last(tmp_path):
    sizes = [(6, ARCHITECTURE.tokens, 768), (2, 9, 768), (6, 9, 192)]
    first = next(iter(write_blocks(ARCHITECTURE, tmp_path, {"sha256": "m"}, sizes)))
    assert not (tmp_path / "index.json").exists()
    stamp = first.stat().st_mtime_ns
    list(write_blocks(ARCHITECTURE, tmp_path, {"sha256": "m"}, sizes))
    assert first.stat().st_mtime_ns == stamp
    index = json.loads((tmp_path / "index.json").read_text())
    assert [(row["heads"], row["tokens"], row["hidden"]) for row in index["grid"]] == sizes and index[
        "model"
    ] == {"sha256": "m"}
    assert all((tmp_path / row["file"]).exists() for row in index["grid"])


def test_a_block_has_its_models_precision_and_target(tmp_path):
    """TensorRT 10 and 11 take types from the graph; 8.6 takes FP32 of opset 17."""
    graph = block_graph(ARCHITECTURE, 3, 9, 192)
    half = with_precision(graph, "fp16", "tensorrt")
    assert type_conflicts(half) == []
    large = [
        tensor
        for tensor in half.graph.initializer
        if max(tensor.dims, default=0) >= 192 and len(tensor.dims) == 2
    ]
    assert large and {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}
    old = with_precision(graph, "fp16", "tensorrt8")
    assert [opset.version for opset in old.opset_import if opset.domain == ""] == [17]
    x = np.random.default_rng(0).standard_normal(
        (2, ARCHITECTURE.tokens, ARCHITECTURE.vit.width), dtype=np.float32
    )
    outputs = []
    for number, model in enumerate((graph, half, old)):
        onnx.save(model, tmp_path / f"{number}.onnx")
        outputs.append(open_graph(tmp_path / f"{number}.onnx", threads=1)(x))
    assert outputs[1].dtype == np.float32 and 0 < np.abs(outputs[1] - outputs[0]).max() < 0.02
    assert np.abs(outputs[2] - outputs[0]).max() < 1e-4


def test_blocks_in_int8_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="--blocks"):
        list(write_blocks(ARCHITECTURE, tmp_path / "b", {"sha256": "m"}, [(6, 9, 768)], precision="int8"))
    assert not list((tmp_path / "b").glob("*"))
