"""Against outputs of TransReID-SSL's and PersonViT's own models: plain form, folded form and ONNX Runtime."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from export.exporting import build_graph
from export.forms import Folded
from prune.config.load import Config
from prune.importing.checkpoint import with_recognised
from prune.importing.convert import convert_state, split_checkpoint
from prune.importing.recognise import recognise
from prune.model.surgery import rebuild
from runtime.backends.onnxruntime import open_onnxruntime
from runtime.spec import InputSpec
from tests.fakes.families import family_case
from tests.fakes.golden import unit
from tests.fakes.undrawn import surgery_undrawn, undrawn

ICS, PERSONVIT = "ssl_small_ics_s16", "personvit_small_s16"
POOLED = {"features_avg": "avg", "features_max": "max", "features_avg_max": "avg_max", "features_gem": "gem"}
CASES = [(ICS, "features_unpruned"), (ICS, "features_after"), (PERSONVIT, "features_unpruned")]
CASES += [(PERSONVIT, name) for name in ("features_after", *POOLED)]
SPEC = InputSpec(layout="float-nchw")
# An export of this size takes a quarter of a minute, so only the case with an instance norm always runs.
EXPORTED = [
    case if case == (ICS, "features_unpruned") else pytest.param(*case, marks=pytest.mark.full)
    for case in CASES
]


@functools.cache
def unpruned_model(name):
    state, lists = split_checkpoint({"state_dict": family_case(name).state()}, name)
    config, _ = with_recognised(Config(), recognise(state), name, overrides=())
    with undrawn():
        return convert_state(state, lists, config.architecture(), name, 0.0)


def model(name, array):
    """The models of a case differ in their architecture alone."""
    network = unpruned_model(name)
    changes = {
        "pooling": POOLED.get(array, "class"),
        "neck": "after" if array == "features_after" else "before",
    }
    with surgery_undrawn():
        architecture = dataclasses.replace(network.architecture, **changes)
        return rebuild(network, architecture, network.state_dict()).eval()


@pytest.mark.parametrize(("name", "array"), CASES)
def test_plain_and_folded_form_give_the_authors_features(name, array):
    golden, network = family_case(name), model(name, array)
    theirs = golden.arrays[array]
    with torch.no_grad():
        ours = network(golden.images).numpy()
        folded = Folded(network, SPEC)(golden.images).numpy()
    assert np.abs(ours - theirs).max() <= golden.tolerance(array)
    assert np.abs(unit(ours) - unit(theirs)).max() <= 2e-6
    assert np.abs(folded - unit(theirs)).max() <= 2e-6


@pytest.mark.parametrize("name", [ICS, PERSONVIT])
def test_every_block_gives_the_authors_class_token(name):
    golden, base = family_case(name), unpruned_model(name).base
    theirs = golden.arrays["class_token"]
    class_tokens = []
    hooks = [
        block.register_forward_pre_hook(lambda block, inputs: class_tokens.append(inputs[0][0, 0]))
        for block in base.blocks
    ]
    try:
        with torch.no_grad():
            last = base(golden.images, None)
    finally:
        for hook in hooks:
            hook.remove()
    ours = torch.stack([*class_tokens, last[0, 0]]).numpy()
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= golden.tolerance("class_token")


def test_the_ics_stem_gives_the_authors_maps():
    golden, embedding = family_case(ICS), unpruned_model(ICS).base.patch_embed
    with torch.no_grad():
        maps = embedding.conv(golden.images)[:2, ::4, ::8, ::8].numpy()
    assert np.abs(maps - golden.arrays["stem"]).max() <= golden.tolerance("stem")


@pytest.mark.parametrize(("name", "array"), EXPORTED)
def test_onnx_runtime_gives_the_authors_features(name, array, tmp_path):
    golden = family_case(name)
    graph, _ = build_graph(model(name, array), SPEC, "folded")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    features = open_onnxruntime(tmp_path / "model.onnx", SPEC)(golden.images.numpy())
    assert np.abs(features - unit(golden.arrays[array])).max() <= 2e-6
