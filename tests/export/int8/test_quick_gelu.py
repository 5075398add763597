"""The activation of CLIP in INT8: its layers are found, and ONNX Runtime runs it as one node between two integer products."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime

from export.blocks import block_graph
from export.int8.groups import groups
from export.int8.quantize import quantise
from prune.model.architecture import unpruned
from runtime.backends.onnxruntime import session_options


def test_a_block_of_clip_has_all_groups_and_one_fused_activation(tmp_path):
    architecture = unpruned("clip_base", family="clip", jpm=False, height=64, width=32)
    graph = block_graph(architecture, 12, architecture.tokens)
    assert set(groups(graph)) == {"block0.qkv", "block0.proj", "block0.fc1", "block0.fc2"}
    tokens = np.random.default_rng(0).standard_normal((1, architecture.tokens, 768)).astype(np.float32)
    quantised = quantise(graph, [{"x": tokens}], target="onnxruntime")
    options = session_options()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(quantised.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert operators["QuickGelu"] == 1 and operators["Sigmoid"] == 0
    assert sum(count for name, count in operators.items() if name.startswith("MatMulInteger")) == 4
