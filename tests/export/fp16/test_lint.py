"""The FP16 lint finds what was planted, keeps only what has to stay FP32, and the gate shows the difference."""

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.exporting import build_graph
from export.fp16.convert import LARGEST, mask_names, node_name, to_fp16
from export.fp16.lint import Lint, emulate_fp16, lint, ranges
from runtime.errors import ArtifactError, DataError
from runtime.gate import LIMITS, compare, failures
from tests.export.fp16.test_convert import casts, feeds, run, small_model, spec_of, with_constant
from tests.fakes import lite


@pytest.fixture(scope="module")
def healthy():
    return build_graph(lite.pruned(), spec_of(), "folded")[0]


def mlp(graph, index=2):
    """(fc1, .., fc2) nodes of one MLP, as they stand in the graph."""
    nodes = list(graph.graph.node)
    erf = [place for place, node in enumerate(nodes) if node.op_type == "Erf"][index]
    first = max(place for place in range(erf) if nodes[place].op_type == "MatMul")
    last = min(place for place in range(erf, len(nodes)) if nodes[place].op_type == "MatMul")
    return nodes[first : last + 1]


def scaled(graph, *, into=1.0, out=1.0, unit=5):
    """The graph with one hidden unit's weights of an MLP scaled: those into it and those out of it."""

    def column(weights):
        weights[:, unit] *= into
        return weights

    def row(weights):
        weights[unit] *= out
        return weights

    first, *_, last = mlp(graph)
    return with_constant(with_constant(graph, first.input[1], column), last.input[1], row)


def verdict(graph, keep):
    """The gate's verdict on the FP16 form on the CPU, with every result rounded."""
    half = emulate_fp16(to_fp16(graph, keep_fp32=keep))
    return failures(compare(run(graph, feeds()), run(half, feeds())), LIMITS["fp16"])


def linted(graph):
    return lint(graph, ranges(graph, feeds(), threads=1))


def test_a_healthy_model_has_no_findings_and_passes(healthy):
    lint_result = linted(healthy)
    # the pixels are the largest numbers of it
    assert lint_result == Lint((), (), 255.0)
    assert verdict(healthy, lint_result.keep) == []


def test_a_planted_overflow_fails_the_gate_and_passes_with_what_the_lint_keeps(healthy):
    """One weight row times 1e5, undone behind the GELU: sane FP32 features, an overflow in between."""
    sick = scaled(healthy, into=1e5, out=1e-5)
    # how many depends on the last bits that this processor's kernels give
    assert verdict(sick, ())[0].endswith("of 24 features are not finite")
    lint_result = linted(sick)
    # fc1, the GELU around its bounded erf, fc2; nothing else
    assert lint_result.keep == tuple(node_name(node) for node in mlp(sick))
    assert {finding.kind for finding in lint_result.findings} == {"overflow"}
    assert verdict(sick, lint_result.keep) == []
    # one cast into the MLP and one out of it
    assert len(casts(to_fp16(sick, keep_fp32=lint_result.keep))) == len(casts(to_fp16(healthy))) + 2


def test_an_overflow_that_reaches_the_residual_stream_keeps_the_stream_and_its_norms(healthy):
    sick = scaled(healthy, into=1e5)
    assert verdict(sick, ())[0].endswith("features are not finite")
    lint_result = linted(sick)
    assert verdict(sick, lint_result.keep) == []
    operators = Counter(node.op_type for node in sick.graph.node if node_name(node) in lint_result.keep)
    # no matrix product but the MLP's own two; the four later blocks and both branches, their norms
    assert operators["MatMul"] == 2 and operators["LayerNormalization"] >= 4 * 2 + 4
    assert operators["Softmax"] == 0 and operators["Gemm"] == 0


def test_the_numpy_evaluator_overflows_where_the_emulation_does(healthy):
    """An independent FP16 oracle: onnx's own evaluator, which computes in numpy's float16."""
    fed = [{name: array[:3] for name, array in feeds()[0].items()}]
    for graph, finite in ((healthy, True), (scaled(healthy, into=1e5, out=1e-5), False)):
        half = to_fp16(graph)
        with np.errstate(all="ignore"):
            oracle = ReferenceEvaluator(half).run(["features"], fed[0])[0]
        ours = run(emulate_fp16(half), fed)
        assert np.isfinite(oracle).all() == finite == np.isfinite(ours).all()
        if finite:
            assert np.abs(ours - oracle).max() < 2e-3


def test_the_emulation_holds_nothing_that_fp16_cannot(healthy):
    exact = emulate_fp16(to_fp16(healthy))
    names = [node.output[0] for node in exact.graph.node if node.input[0].endswith("_half")]
    assert len(names) > 200
    values = exposed(exact, names, feeds()[0])
    assert all(np.array_equal(value, value.astype(np.float16)) for value in values.values())


def exposed(graph, names, feed):
    """{name: array} of inner tensors, by making outputs of them: brute force."""
    opened = onnx.ModelProto()
    opened.CopyFrom(graph)
    opened.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name != "features"
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, feed)))


def test_ranges_are_the_largest_magnitudes_of_all_tensors(healthy):
    measured = ranges(healthy, feeds()[:2], threads=1)
    masked = {node.output[0] for node in healthy.graph.node if mask_names(healthy) & set(node.input)}
    arrays = [exposed(healthy, list(measured), feed) for feed in feeds()[:2]]
    for name in set(measured) - masked:
        largest = max(np.abs(array[name]).max() for array in arrays)
        assert measured[name] == pytest.approx(largest, rel=1e-4), name
    # a mask of -30000 counts as the -1e4 that it becomes
    assert all(0.9e4 < measured[name] < 1.1e4 for name in masked) and masked


def test_ranges_need_images_and_call_nan_infinite(healthy):
    with pytest.raises(DataError, match="--calibration"):
        ranges(healthy, [])
    graph = small_model([helper.make_node("Sqrt", ["x"], ["y"])])
    x = np.ones((2, 4), np.float32)
    assert ranges(graph, [{"x": 4 * x}, {"x": x}]) == {"y": 2}
    x[1, 1] = -1
    assert ranges(graph, [{"x": x}, {"x": np.abs(x)}]) == {"y": np.inf}


def chain(*operators):
    """x through the operators, one input each; names n0, n1, ..., the last one gives y."""
    names = ["x", *(f"t{index}" for index in range(len(operators) - 1)), "y"]
    return small_model(
        [
            helper.make_node(operator, [names[index]], [names[index + 1]], name=f"n{index}")
            for index, operator in enumerate(operators)
        ]
    )


@pytest.mark.parametrize(
    ("largest", "kind"),
    [
        (LARGEST + 32, "overflow"),
        (np.inf, "overflow"),
        (LARGEST, "close"),
        (0.26 * LARGEST, "close"),
        (0.24 * LARGEST, None),
        (6.2e-5, None),
        (6e-5, "tiny"),
        (0.0, None),
    ],
)
def test_limits(largest, kind):
    graph = chain("Tanh", "Exp", "Tanh")
    lint_result = lint(graph, {"t0": 1.0, "t1": largest, "y": 1.0})
    assert [finding.kind for finding in lint_result.findings] == ([kind] if kind else [])
    assert lint_result.keep == (("n1", "n2") if kind else ())


def test_light_nodes_between_fp32_nodes_join_them_unless_that_needs_more_casts():
    graph = chain("Exp", "Tanh", "Tanh", "Tanh", "Exp", "Tanh")
    calm = {f"t{index}": 1.0 for index in range(5)} | {"y": 1.0}
    # n0, n1 and n4, n5 must; n2 and n3 lie between
    assert lint(graph, calm | {"t0": 1e5, "t4": 1e5}).keep == ("n0", "n1", "n2", "n3", "n4", "n5")
    # with three further FP16 products that feed on what lies between, staying FP32 would need three casts instead of two
    for index, tensor in enumerate(("t1", "t2", "t3")):
        graph.graph.node.append(helper.make_node("Softmax", [tensor], [f"s{index}"], name=f"s{index}"))
    assert lint(graph, calm | {"t0": 1e5, "t4": 1e5}).keep == ("n0", "n1", "n4", "n5")


def test_a_tensor_that_is_only_moved_is_kept_without_a_finding_of_its_own():
    graph = chain("Exp", "Flatten", "Tanh")
    lint_result = lint(graph, {"t0": 1e5, "t1": 1e5, "y": 1.0})
    assert [finding.node for finding in lint_result.findings] == ["n0"] and lint_result.keep == (
        "n0",
        "n1",
        "n2",
    )


def test_underflow_of_an_addend_is_no_finding():
    """A branch that adds next to nothing to the stream loses nothing that matters."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], name="branch"),
        helper.make_node("Add", ["t", "x"], ["y"], name="sum"),
    ]
    assert lint(small_model(nodes), {"t": 1e-6, "y": 1.0}).findings == ()
    nodes[1] = helper.make_node("Mul", ["t", "x"], ["y"], name="product")
    assert lint(small_model(nodes), {"t": 1e-6, "y": 1.0}).keep == ("branch", "product")


@pytest.mark.parametrize(("value", "kinds"), [(7e4, ["overflow"]), (6e4, []), (1e-6, ["tiny"])])
def test_weights_are_judged_as_they_are_without_a_margin(value, kinds):
    weight = numpy_helper.from_array(np.full((4, 4), value, np.float32), "weight")
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], name="first"),
        helper.make_node("MatMul", ["t", "weight"], ["y"], name="product"),
    ]
    lint_result = lint(small_model(nodes, [weight]), {"t": 1.0, "y": 1.0})
    assert [finding.kind for finding in lint_result.findings] == kinds
    assert lint_result.keep == (("product",) if kinds else ())


def test_a_bias_beyond_fp16_is_refused_and_then_kept(healthy):
    name, node = next(
        (candidate.input[1], node_name(candidate))
        for candidate in healthy.graph.node
        if candidate.op_type == "LayerNormalization" and candidate.input[1]
    )
    sick = with_constant(
        healthy, name, lambda scale: np.where(np.arange(len(scale)) == 0, 1e5, scale).astype("f")
    )
    with pytest.raises(ArtifactError, match="--precision fp32"):
        to_fp16(sick)
    lint_result = lint(sick, {})
    assert lint_result.keep == (node,)
    to_fp16(sick, keep_fp32=lint_result.keep)


def test_a_vanishing_layer_is_kept_and_gains_by_it(healthy):
    """A norm's outputs times 5e-6, undone by the next weights: both fit FP16, the first with two digits only."""
    first = mlp(healthy)[0]
    norm = next(node for node in healthy.graph.node if node.output[0] == first.input[0])
    sick = healthy
    for name, factor in ((norm.input[1], 5e-6), (norm.input[2], 5e-6), (first.input[1], 2e5)):
        sick = with_constant(sick, name, lambda values, factor=factor: values * np.float32(factor))
    lint_result = linted(sick)
    assert {finding.kind for finding in lint_result.findings} == {"tiny"}
    assert lint_result.keep == (node_name(norm), node_name(first))
    reference = run(sick, feeds())
    plain, kept = (
        np.abs(run(emulate_fp16(to_fp16(sick, keep_fp32=keep)), feeds()) - reference).max()
        for keep in ((), lint_result.keep)
    )
    assert kept < 0.7 * plain


def test_findings_are_one_line_each_and_fit_a_manifest():
    lint_result = lint(chain("Tanh", "Exp", "Tanh"), {"t0": 1.0, "t1": np.inf, "y": 2e4})
    assert [str(finding) for finding in lint_result.findings] == [
        "Exp n1: t1 reaches inf, beyond FP16's 65504; kept in FP32",
        "Tanh n2: y reaches 2e+04, close to FP16's 65504; kept in FP32",
    ]
    written = json.loads(json.dumps(lint_result.to_json(), allow_nan=False))
    assert written["keep"] == ["n1", "n2"] and written["findings"][0]["largest"] is None
