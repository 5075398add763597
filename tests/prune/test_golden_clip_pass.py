"""Against outputs of the authors' own CLIP-ReID and PASS: every recorded array, the folded form and ONNX Runtime."""

import functools

import numpy as np
import pytest
import torch

from export.exporting import build_graph
from export.forms import Folded
from prune.importing import clip, pass_reid
from prune.model.architecture import unpruned
from prune.model.file import load_strictly
from prune.model.transreid import TransReID
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.spec import InputSpec
from tests.fakes.families import family_case
from tests.fakes.golden import unit
from tests.fakes.undrawn import undrawn

SPEC = InputSpec(height=256, width=128, layout="float-nchw", camera="none", cameras=0)
CASES = {
    "clipreid_base_s16": ("clip", "clip_base", clip.renamed),
    "pass_small_s16": ("pass", "deit_small", pass_reid.renamed),
}


@functools.cache
def model(name, neck="before"):
    family, variant, renamed = CASES[name]
    architecture = unpruned(variant, family=family, jpm=False, identities=20, neck=neck)
    state = {key: value for key, value in renamed(family_case(name).state()).items() if "base.fc." not in key}
    with undrawn():
        network = TransReID(architecture)
    load_strictly(network, state, name)
    return network.eval()


def captured(network, images):
    """Return {array: value} for the recorded tokens of the authors' model, and the descriptor."""
    base, outputs = network.base, {}
    hooks = [
        module.register_forward_hook(
            lambda _, given, output, key=key: outputs.update({key: (given[0], output)})
        )
        for key, module in {"pre": base.norm_pre, **dict(enumerate(base.blocks)), "last": base.norm}.items()
    ]
    with torch.no_grad():
        features = network(images)
    for hook in hooks:
        hook.remove()
    leading = network.architecture.leading
    steps = [outputs[0][0], *(outputs[index][1] for index in range(12))]
    thin = slice(None, None, network.architecture.vit.width // 24)
    arrays = {
        "features_unpruned": features,
        "tokens_summed": outputs["pre"][0][:2, :, thin],
        "tokens_embedded": steps[0][:2, :, thin],
        "tokens_block1": steps[1][:2, :, thin],
        "tokens_last": steps[-1][:2, :, thin],
        "class_token": torch.stack([step[0, 0] for step in steps]),
        "leading_tokens": torch.stack([step[0, :leading] for step in steps]),
        "features_tokens": outputs["last"][1][:, :leading],
    }
    return {key: value.numpy() for key, value in arrays.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_recorded_array(name):
    case = family_case(name)
    computed = captured(model(name), case.images)
    recorded = set(case.arrays) - {"features_after"}
    assert recorded <= set(computed)
    for array in recorded:
        assert np.abs(computed[array] - case.arrays[array]).max() <= case.tolerance(array), array


@pytest.mark.parametrize("neck", ["before", "after"])
@pytest.mark.parametrize("name", CASES)
def test_features_of_the_plain_and_the_folded_form(name, neck):
    case, network = family_case(name), model(name, neck)
    array = {"before": "features_unpruned", "after": "features_after"}[neck]
    with torch.no_grad():
        plain, folded = network(case.images).numpy(), Folded(network, SPEC).eval()(case.images).numpy()
    assert np.abs(plain - case.arrays[array]).max() <= case.tolerance(array)
    assert np.abs(folded - unit(case.arrays[array])).max() < 2e-6


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_gives_the_authors_features(name, tmp_path):
    case = family_case(name)
    graph, _ = build_graph(model(name), SPEC, "folded")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    session = open_onnxruntime(tmp_path / "model.onnx", SPEC)
    features = session(case.images.numpy(), None)
    assert np.abs(features - unit(case.arrays["features_unpruned"])).max() < 2e-6
