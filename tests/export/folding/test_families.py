"""The folded forms of CLIP-ReID and PASS equal their plain forms, pruned or not, and cost what is reported."""

import dataclasses

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from export.exporting import build_graph
from export.folding.head import ClassTokenBlock
from export.folding.pixels import rescaled
from export.forms import Folded, Reference
from prune.model.flops import macs_folded, macs_reference, parameters
from runtime.backends.onnxruntime import open_onnxruntime
from tests.fakes import lite

PASS = ["pass", "pass_mean", "pass_one_neck", "pass_mean_one_neck"]
FAMILIES = ["clip", *PASS]
SPEC = dataclasses.replace(lite.SPEC, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def model(family, make=lite.thinned, **changes):
    cameras = 3 if family == "clip" else 0
    return make(family=family, jpm=False, cameras=cameras, **changes)


def spec(family, **changes):
    if family != "clip":
        changes |= {"camera": "none", "cameras": 0}
    return dataclasses.replace(SPEC, **changes)


def inputs(family, layout="float-nchw"):
    images = lite.batch(3)[0]
    if layout == "uint8-nhwc":
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (3, 64, 32, 3), generator=random, dtype=torch.uint8)
    return images, torch.tensor([0, 3, 4]) if family == "clip" else None


@pytest.mark.parametrize("layout", ["float-nchw", "uint8-nhwc"])
@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("neck", ["before", "after"])
@pytest.mark.parametrize("family", FAMILIES)
def test_folded_equals_plain(family, neck, mode, layout):
    network, form = model(family, neck=neck, mode=mode), spec(family, layout=layout)
    with torch.no_grad():
        given = inputs(family, layout)
        difference = Folded(network, form).eval()(*given) - Reference(network, form).eval()(*given)
    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("family", ["clip", "pass"])
def test_pixels_with_another_mean_and_std_give_the_same_features(family):
    own = spec(family)
    sent = dataclasses.replace(own, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))
    network, (images, cameras) = model(family), inputs(family)
    means, stds = (
        [torch.tensor(getattr(form, name)).view(1, 3, 1, 1) for form in (own, sent)]
        for name in ("mean", "std")
    )
    other = (images * stds[0] + means[0] - means[1]) / stds[1]
    with torch.no_grad():
        expected = Reference(network, own).eval()(images, cameras)
        features = Folded(rescaled(network, own, sent), sent).eval()(other, cameras)
    assert (features - expected).abs().max() < 1e-5


@pytest.mark.parametrize("leading", [1, 4])
def test_a_block_for_the_leading_tokens_is_the_whole_block_at_these_tokens(leading):
    network = lite.model(jpm=False)
    block, norm = network.base.blocks[-1], network.base.norm
    tokens = torch.randn(3, 22, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = norm(block(tokens))[:, :leading]
        assert (ClassTokenBlock(block, norm, leading=leading)(tokens) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fvcore_counts_the_same_on_both_forms(family, mode):
    network = model(family, mode=mode)
    images, cameras = inputs(family)
    given = (images[:1], None if cameras is None else cameras[:1])
    for form, macs in ((network, macs_reference), (Folded(network, spec(family)), macs_folded)):
        counter = FlopCountAnalysis(form.eval(), given if cameras is not None else given[:1])
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = counter.by_operator()
        total = sum(value for key, value in counts.items() if key in {"conv", "linear", "matmul"})
        assert total == pytest.approx(macs(network.architecture), rel=0.005)


@pytest.mark.parametrize("neck", ["before", "after"])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_what_inference_reads(family, neck):
    """Independently: a parameter is read when the descriptor's gradient reaches it."""
    network = model(family, neck=neck)
    for value in network.parameters():
        value.requires_grad_(True)
    network(*inputs(family)).sum().backward()
    reached = sum(value.numel() for value in network.parameters() if value.grad is not None)
    assert parameters(network.architecture) == reached


@pytest.mark.parametrize("family", ["clip", "pass", "pass_mean_one_neck"])
def test_onnx_runtime_gives_the_features_of_the_plain_form(family, tmp_path):
    network, (images, cameras) = lite.shallow(model(family, lite.pruned), 2), inputs(family)
    graph, _ = build_graph(network, spec(family), "folded")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    session = open_onnxruntime(tmp_path / "model.onnx", spec(family))
    with torch.no_grad():
        expected = Reference(network, spec(family)).eval()(images, cameras).numpy()
    features = session(images.numpy(), None if cameras is None else cameras.numpy())
    assert abs(features - expected).max() < 1e-5
