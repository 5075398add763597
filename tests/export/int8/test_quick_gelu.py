"""The activation of CLIP: its layers are found for INT8, and ONNX Runtime runs it as one node, also between integer products."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime

from export.blocks import block_graph
from export.int8.groups import groups
from export.int8.quantize import quantise
from prune.model.architecture import unpruned
from runtime.backends.onnxruntime import session_options


def optimised_operators(graph, path):
    options = session_options()
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_a_block_of_clip_has_all_groups_and_one_fused_activation(tmp_path):
    architecture = unpruned("clip_base", family="clip", jpm=False, height=64, width=32)
    graph = block_graph(architecture, 12, architecture.tokens)
    assert set(groups(graph)) == {"block0.qkv", "block0.proj", "block0.fc1", "block0.fc2"}
    tokens = np.random.default_rng(0).standard_normal((1, architecture.tokens, 768)).astype(np.float32)
    quantised = quantise(graph, [{"x": tokens}], target="onnxruntime")
    for form, integer_products in ((graph, 0), (quantised, 4)):
        operators = optimised_operators(form, tmp_path / "optimised.onnx")
        assert operators["QuickGelu"] == 1 and operators["Sigmoid"] == 0
        counts = [count for name, count in operators.items() if name.startswith("MatMulInteger")]
        assert sum(counts) == integer_products
