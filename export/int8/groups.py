"""Which Linear layers a graph of ours holds, as groups with names that people know: `block3.fc1`, `jpm.b2.proj`.

Read off the structure alone: names of weights do not survive the exporter (zero biases go, equal norms are merged).
"""

from __future__ import annotations

import onnx

PARTS = ("qkv", "proj", "fc1", "fc2")
# Tensor -> what lies upstream of it: names of Linears, and of tensors that a LayerNormalization gives.
Upstream = dict[str, frozenset[str]]


def groups(graph: onnx.ModelProto) -> dict[str, list[str]]:
    """Group name -> names of its MatMul and Gemm nodes with a constant 2-D weight; blocks from 0, in the order of the network.

    qkv of a folded class-token block is its query alone: keys and values are no Linear there. Everything else (attention,
    patches, folded 3-D weights) is in no group.
    """
    linears = linear_nodes(graph)
    near, norms = _near(graph, linears), _norm_inputs(graph)
    gelu = {
        name for node in graph.graph.node if node.op_type in ("Erf", "Gelu") for name in near[node.input[0]]
    }
    part: dict[str, str] = {}
    blocks: dict[str, dict[str, list[str]]] = {}
    home: dict[str, dict[str, list[str]]] = {}
    for name, node in linears.items():
        above = near.get(node.input[0], frozenset())
        known = [other for other in linears if other in above]
        if len(above) == 1 and above <= set(norms):
            part[name] = "fc1" if name in gelu else "qkv"
        elif any(part.get(other) == "fc1" for other in known):
            part[name] = "fc2"
            home[name] = next(home[other] for other in known if other in home)
        elif any(part.get(other) == "qkv" for other in known):
            part[name] = "proj"
            home[name] = blocks[name] = {"qkv": [other for other in known if part.get(other) == "qkv"]}
        if part.get(name) == "fc1":
            # the block whose projection was the latest to be added to what this norm reads
            stream = near.get(norms[next(iter(above))], frozenset())
            before = [other for other in linears if other in stream and part.get(other) == "proj"]
            home[name] = blocks[before[-1]] if before else blocks.setdefault(name, {})
        if name in home:
            home[name].setdefault(part[name], []).append(name)
    titles = _titles(graph, linears, blocks)
    return {
        f"{titles[block]}.{kind}": members[kind]
        for block, members in blocks.items()
        for kind in PARTS
        if kind in members
    }


def linear_nodes(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The MatMul and Gemm nodes whose second input is a constant matrix, by name, in the graph's order."""
    matrices = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    return {
        node.name: node
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in matrices
    }


def _near(graph: onnx.ModelProto, linears: dict[str, onnx.NodeProto]) -> Upstream:
    """What is upstream of each tensor, up to the last Linear or LayerNormalization on every path."""
    near: Upstream = {}
    for node in graph.graph.node:
        above = frozenset[str]().union(*(near.get(name, frozenset()) for name in node.input))
        if node.name in linears:
            above = frozenset({node.name})
        elif node.op_type == "LayerNormalization":
            above = frozenset({node.output[0]})
        near |= dict.fromkeys(node.output, above)
    return near


def _norm_inputs(graph: onnx.ModelProto) -> dict[str, str]:
    """What a LayerNormalization gives -> what it reads."""
    return {
        node.output[0]: node.input[0] for node in graph.graph.node if node.op_type == "LayerNormalization"
    }


def _titles(
    graph: onnx.ModelProto, linears: dict[str, onnx.NodeProto], blocks: dict[str, dict[str, list[str]]]
) -> dict[str, str]:
    """Block -> `block<n>`, or `jpm.b1` and `jpm.b2` for two last blocks of which the second does not build on the first."""
    names = list(blocks)
    titles = {block: f"block{index}" for index, block in enumerate(names)}
    if len(names) >= 2:
        first, second = names[-2:]
        above: Upstream = {}
        for node in graph.graph.node:
            own = {node.name} & set(linears)
            below = frozenset(own).union(*(above.get(name, frozenset()) for name in node.input))
            above |= dict.fromkeys(node.output, below)
        if first not in above[linears[second].output[0]]:
            titles |= {first: "jpm.b1", second: "jpm.b2"}
    return titles
