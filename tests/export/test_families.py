"""Pruned models of the families with a stem or a pooling of their own: their folded form equals the plain one, also in its MACs."""

import dataclasses

import numpy as np
import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from export.exporting import build_graph
from export.folding.pixels import rescaled
from export.forms import Folded, Reference
from export.fp16.convert import to_fp16, type_conflicts
from export.int8.groups import groups
from prune.model.flops import macs_folded, macs_reference
from runtime.backends.onnxruntime import open_onnxruntime
from tests.fakes import lite

ICS = {"family": "ics", "stride": 16}
FORMS = {
    "ics": ICS | {"jpm": False},
    "ics_after": ICS | {"jpm": False, "neck": "after"},
    "ics_jpm": ICS | {"jpm": True},
    "ics_gem": ICS | {"jpm": False, "pooling": "gem"},
    "avg": {"jpm": False, "pooling": "avg"},
    "max_after": {"jpm": False, "pooling": "max", "neck": "after"},
    "avg_max": {"jpm": False, "pooling": "avg_max", "stride": 16},
    "gem": {"jpm": False, "pooling": "gem"},
    "deeper": {"jpm": False, "depth": 9},
}
FLOATS = dataclasses.replace(lite.SPEC, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
PIXELS = dataclasses.replace(FLOATS, layout="uint8-nhwc")
CAMERAS = torch.tensor([0, 3, 4])


def network(name, mode="bypass"):
    return lite.pruned(mode=mode, **FORMS[name])


def pixels():
    return torch.randint(
        0, 256, (3, 64, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("name", FORMS)
def test_folded_equals_plain(name, mode):
    pruned = network(name, mode)
    with torch.no_grad():
        for spec, images in ((FLOATS, lite.batch(3)[0]), (PIXELS, pixels())):
            ours = Folded(pruned, spec).eval()(images, CAMERAS)
            assert (ours - Reference(pruned, spec).eval()(images, CAMERAS)).abs().max() < 1e-5


def test_an_ics_stem_takes_pixels_with_another_mean_and_std():
    pruned = network("ics")
    sent = dataclasses.replace(PIXELS, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))
    with torch.no_grad():
        expected = Reference(pruned, PIXELS).eval()(pixels(), CAMERAS)
        features = Folded(rescaled(pruned, PIXELS, sent), sent).eval()(pixels(), CAMERAS)
    assert (features - expected).abs().max() < 1e-5


def test_the_ics_stem_sees_the_mean_colour_beyond_the_border():
    """The published stem pads normalised images with zeros, so a picture of the mean colour has no border."""
    colour = torch.tensor([102, 128, 153], dtype=torch.uint8)
    spec = dataclasses.replace(PIXELS, mean=tuple((colour / 255).tolist()))
    form, maps = Folded(network("ics"), spec).eval(), []
    form.patch.conv[0].register_forward_hook(lambda _, images, output: maps.append(output))
    with torch.no_grad():
        form(colour.expand(1, 64, 32, 3), CAMERAS[:1])
    assert (maps[0] - maps[0][:, :, 16:17, 8:9]).abs().max() < 1e-4


@pytest.mark.parametrize("name", FORMS)
def test_fvcore_counts_the_same(name):
    pruned = network(name)
    images, _, cameras = lite.batch(1)
    for form, macs in ((pruned, macs_reference), (Folded(pruned, lite.SPEC), macs_folded)):
        counter = FlopCountAnalysis(form.eval(), (images, cameras))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = counter.by_operator()
        total = sum(value for key, value in counts.items() if key in {"conv", "linear", "matmul"})
        assert total == pytest.approx(macs(pruned.architecture), rel=0.005)


@pytest.mark.parametrize("name", ["ics", "avg_max", "gem"])
def test_the_exported_graph_is_static_typed_and_has_the_layers_for_int8(name, tmp_path):
    pruned = lite.shallow(network(name))
    graph, _ = build_graph(pruned, PIXELS, "folded")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    features = open_onnxruntime(tmp_path / "model.onnx", PIXELS)(pixels().numpy(), CAMERAS.numpy())
    with torch.no_grad():
        expected = Reference(pruned, PIXELS).eval()(pixels(), CAMERAS).numpy()
    assert np.abs(features - expected).max() < 1e-5
    assert not type_conflicts(to_fp16(graph))
    assert {"block0.qkv", "block0.fc1", "block0.fc2", "block1.proj"} <= set(groups(graph))
