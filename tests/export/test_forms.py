"""The folded form equals the plain one over modes, necks, cameras and layouts; its pieces against brute force."""

import dataclasses

import numpy as np
import pytest
import torch

from export.folding.head import ClassTokenBlock
from export.folding.outputs import group_mask
from export.folding.pixels import rescaled
from export.forms import Folded, Reference, camera_row, running_order
from prune.model.block import write_back
from prune.model.jpm import local_groups
from runtime.errors import ConfigError
from tests.fakes import lite


def images(layout, count=3):
    if layout == "float-nchw":
        return lite.batch(count)[0]
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 64, 32, 3), generator=random, dtype=torch.uint8)


def difference(network, spec, cameras=None):
    with torch.no_grad():
        folded, plain = Folded(network, spec).eval(), Reference(network, spec).eval()
        pixels = images(spec.layout)
        return (folded(pixels, cameras) - plain(pixels, cameras)).abs().max().item()


@pytest.mark.parametrize("layout", ["float-nchw", "uint8-nhwc"])
@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("jpm", [True, False])
@pytest.mark.parametrize("neck", ["before", "after"])
def test_folded_equals_plain(layout, mode, jpm, neck):
    spec = dataclasses.replace(lite.SPEC, layout=layout, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    assert difference(lite.pruned(mode=mode, jpm=jpm, neck=neck), spec, torch.tensor([0, 3, 4])) < 1e-5


@pytest.mark.parametrize("layout", ["float-nchw", "uint8-nhwc"])
@pytest.mark.parametrize(("jpm", "neck"), [(True, "before"), (True, "after"), (False, "before")])
def test_a_pruned_hybrid_folds_exactly(layout, jpm, neck):
    spec = dataclasses.replace(lite.SPEC, layout=layout, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    network = lite.thinned(variant="hybrid_lite", jpm=jpm, neck=neck)
    assert difference(network, spec, torch.tensor([0, 3, 4])) < 1e-5


@pytest.mark.parametrize("layout", ["float-nchw", "uint8-nhwc"])
@pytest.mark.parametrize("variant", ["vit_lite", "hybrid_lite"])
def test_a_model_for_pixels_with_another_mean_and_std_gives_the_same_features(layout, variant):
    own = dataclasses.replace(lite.SPEC, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    sent = dataclasses.replace(own, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3), layout=layout)
    network, pixels = lite.model(variant=variant), images("uint8-nhwc")
    shares = pixels.permute(0, 3, 1, 2) / 255

    def given(spec):
        if spec.layout == "uint8-nhwc":
            return pixels
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (spec.mean, spec.std))
        return (shares - mean) / std

    cameras = torch.tensor([0, 3, 4])
    with torch.no_grad():
        expected = Reference(network, own)(given(own), cameras)
        features = Folded(rescaled(network, own, sent), sent)(given(sent), cameras)
    assert (features - expected).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("jpm", [True, False])
def test_narrower_mlps_and_removed_blocks_fold_exactly(mode, jpm):
    network = lite.thinned(mode=mode, jpm=jpm)
    assert difference(network, lite.SPEC, torch.tensor([0, 3, 4])) < 1e-5
    assert len(Folded(network, lite.SPEC).blocks) == 5


@pytest.mark.parametrize("camera", ["mean", "none", 0, 2])
def test_a_baked_camera_equals_asking_for_it(camera):
    network = lite.pruned()
    baked = dataclasses.replace(lite.SPEC, camera=camera)
    assert difference(network, baked) < 1e-5
    rows = torch.full((3,), camera_row(network.architecture, camera))
    with torch.no_grad():
        requested = Folded(network, lite.SPEC)(images("float-nchw"), rows)
        assert torch.allclose(Folded(network, baked)(images("float-nchw")), requested, atol=1e-6)


def test_cameras_matter_and_unknown_ones_are_refused():
    network = lite.pruned()
    with torch.no_grad():
        first_camera, second_camera = (
            Folded(network, lite.SPEC)(images("float-nchw"), torch.full((3,), row)) for row in (0, 1)
        )
    assert (first_camera - second_camera).abs().max() > 1e-3
    for camera in (3, -1, "front"):
        with pytest.raises(ConfigError, match="cameras 0..2"):
            camera_row(network.architecture, camera)


@pytest.mark.parametrize("changes", [{"cameras": 0}, {"rearrange": False}, {"stride": 16}, {"qkv": False}])
def test_other_models_fold_exactly_too(changes):
    if "qkv" in changes:
        network = lite.pruned()
        for module in network.modules():
            if hasattr(module, "qkv"):
                module.qkv.bias = None
    else:
        network = lite.pruned(**changes)
    cameras = network.architecture.cameras
    spec = dataclasses.replace(lite.SPEC, cameras=cameras, camera="input" if cameras else "none")
    assert difference(network, spec, torch.tensor([0, 1, 2]) if cameras else None) < 1e-5


def test_folding_leaves_the_model_alone():
    network = lite.pruned()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    Folded(network, dataclasses.replace(lite.SPEC, layout="uint8-nhwc"))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_class_token_block_is_the_whole_block_read_at_the_class_token():
    network = lite.model()
    block, norm = network.b2[0], network.b2[1]
    tokens = torch.randn(2, 22, 192)
    with torch.no_grad():
        whole = norm(block(tokens))[:, :1]
        assert torch.allclose(ClassTokenBlock(block, norm)(tokens), whole, atol=1e-5)


def test_running_order_composes():
    order = list(range(6))
    gather, order = running_order((0, 2, 4), order)
    assert (gather, order) == ([0, 2, 4, 1, 3, 5], [0, 2, 4, 1, 3, 5])
    gather, order = running_order((0, 1, 2), order)
    assert order == [0, 2, 1, 4, 3, 5] and gather == [0, 1, 3, 2, 4, 5]
    # what stands in front already needs no gather
    assert running_order((0, 1, 2), order)[0] is None


def test_write_back_puts_new_values_where_they_came_from():
    kept, everything = np.array([100, 102]), np.arange(4)
    assert np.concatenate([kept, everything])[write_back((0, 2), 4)].tolist() == [100, 1, 102, 3]


def test_group_masks_count_tokens_as_often_as_they_stand():
    architecture = lite.architecture()
    mask = group_mask(architecture, list(range(22)))
    for row, group in zip(mask.exp(), local_groups(21, 4, rearrange=True)):
        counts = [(0, *group).count(token) for token in range(22)]
        assert row.tolist() == pytest.approx(counts)
