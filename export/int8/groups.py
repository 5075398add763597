"""Find the layers of an exported graph that INT8 can speed up, and group them under readable names: `block3.fc1`, `jpm.b2.proj`.

In a transformer, these are its Linear layers. In any other network, every convolution and every Linear layer is a group of its own,
with the name of its node.

The groups are found by the structure of the graph. Names cannot be used: the export transposes most Linear weights into constants
with generated names such as `val_13`, drops biases that are zero, and merges norms that are equal.
"""

from __future__ import annotations

import onnx

LINEARS = ("qkv", "proj", "fc1", "fc2")
# Tensor -> the nodes upstream of it: Linears by node name, LayerNormalizations by the name of their output tensor.
Upstream = dict[str, frozenset[str]]


def groups(graph: onnx.ModelProto) -> dict[str, list[str]]:
    """Return {group name: names of its nodes}: the Linear layers of a transformer, or all layers of another network.

    A graph without a transformer block has one group for each of its `layers`, with the name of the node. In a transformer, a group
    is one Linear layer, made of MatMul or Gemm nodes with constant 2-D weights. A name such as `block3.fc1` consists of a block and
    one of LINEARS: qkv, proj, fc1 or fc2. Blocks are numbered from 0 among those that the network still has: after a removed block,
    the numbers are lower than in the unpruned model. In a block that is computed for the class token only, the group
    qkv has the product with the query weight alone: the weights of keys and values are 3-D there and so belong to no group. Attention
    products and the patch convolution are in no group either.
    """
    return _block_groups(graph) or {name: [name] for name in layers(graph)}


def _block_groups(graph: onnx.ModelProto) -> dict[str, list[str]]:
    linears = linear_nodes(graph)
    upstream, norm_inputs = _nearest_upstream(graph, linears), _norm_inputs(graph)
    before_gelu = {
        name
        for node in graph.graph.node
        if node.op_type in ("Erf", "Gelu", "Sigmoid")
        for name in upstream[node.input[0]]
    }
    part: dict[str, str] = {}
    blocks: dict[str, dict[str, list[str]]] = {}
    block_of: dict[str, dict[str, list[str]]] = {}
    for name, node in linears.items():
        above = upstream.get(node.input[0], frozenset())
        linears_above = [other for other in linears if other in above]
        if len(above) == 1 and above <= set(norm_inputs):
            part[name] = "fc1" if name in before_gelu else "qkv"
        elif any(part.get(other) == "fc1" for other in linears_above):
            part[name] = "fc2"
            block_of[name] = next(block_of[other] for other in linears_above if other in block_of)
        elif any(part.get(other) == "qkv" for other in linears_above):
            part[name] = "proj"
            queries = [other for other in linears_above if part.get(other) == "qkv"]
            block_of[name] = blocks[name] = {"qkv": queries}
        if part.get(name) == "fc1":
            # This fc1 belongs to the block whose projection was the last to be added to the input of its norm.
            residual = upstream.get(norm_inputs[next(iter(above))], frozenset())
            projections = [other for other in linears if other in residual and part.get(other) == "proj"]
            block_of[name] = blocks[projections[-1]] if projections else blocks.setdefault(name, {})
        if name in block_of:
            block_of[name].setdefault(part[name], []).append(name)
    titles = _titles(graph, linears, blocks)
    return {
        f"{titles[block]}.{kind}": members[kind]
        for block, members in blocks.items()
        for kind in LINEARS
        if kind in members
    }


def linear_nodes(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the MatMul and Gemm nodes whose second input is a constant matrix, by name, in the graph's order."""
    matrices = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    return {
        node.name: node
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in matrices
    }


def layers(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the nodes of `linear_nodes`, and the convolutions with constant weights, by name, in the graph's order."""
    constants, linears = {tensor.name for tensor in graph.graph.initializer}, linear_nodes(graph)
    return {
        node.name: node
        for node in graph.graph.node
        if node.name in linears or (node.op_type == "Conv" and node.input[1] in constants)
    }


def _nearest_upstream(graph: onnx.ModelProto, linears: dict[str, onnx.NodeProto]) -> Upstream:
    """Return, for each tensor, the nearest Linear or LayerNormalization on every path upstream of it."""
    nearest: Upstream = {}
    for node in graph.graph.node:
        above = frozenset[str]().union(*(nearest.get(name, frozenset()) for name in node.input))
        if node.name in linears:
            above = frozenset({node.name})
        elif node.op_type == "LayerNormalization":
            above = frozenset({node.output[0]})
        nearest |= dict.fromkeys(node.output, above)
    return nearest


def _norm_inputs(graph: onnx.ModelProto) -> dict[str, str]:
    """Map the output of each LayerNormalization to its input."""
    return {
        node.output[0]: node.input[0] for node in graph.graph.node if node.op_type == "LayerNormalization"
    }


def _titles(
    graph: onnx.ModelProto, linears: dict[str, onnx.NodeProto], blocks: dict[str, dict[str, list[str]]]
) -> dict[str, str]:
    """Name the blocks `block<n>`; the last two are `jpm.b1` and `jpm.b2` if the second does not depend on the first."""
    names = list(blocks)
    titles = {block: f"block{index}" for index, block in enumerate(names)}
    if len(names) >= 2:
        first, second = names[-2:]
        above: Upstream = {}
        for node in graph.graph.node:
            own = {node.name} & set(linears)
            linears_above = frozenset(own).union(*(above.get(name, frozenset()) for name in node.input))
            above |= dict.fromkeys(node.output, linears_above)
        if first not in above[linears[second].output[0]]:
            titles |= {first: "jpm.b1", second: "jpm.b2"}
    return titles
