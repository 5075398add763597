"""Multiply-adds: the published constants, fvcore on the plain form, and the folded form's own products."""

import dataclasses
import json

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from export.forms import Folded
from prune.cli.flops import main
from prune.config.load import load_config
from prune.model.architecture import REMOVED, unpruned
from prune.model.flops import macs_folded, macs_paper, macs_reference, parameters, patch_macs
from prune.model.transreid import TransReID
from prune.scoring.spread import spread
from runtime.errors import ConfigError
from tests.fakes import lite
from tests.fakes.golden import case
from tests.fakes.undrawn import undrawn


@pytest.mark.parametrize(
    ("variant", "stride", "published"), [("vit_base", 12, 18748234512), ("vit_small", 11, 12195551808)]
)
def test_unpruned_blocks_are_the_authors_count_exactly(variant, stride, published):
    assert macs_paper(unpruned(variant, stride=stride)) == published


@pytest.mark.parametrize(
    ("config", "published"),
    [("market_base_h25_t25", 13.20), ("occ_duke_base_h25_t25", 15.26), ("occ_duke_small_h40_t40", 6.75)],
)
def test_uniform_pruning_gives_the_published_column(config, published):
    assert macs_paper(spread(load_config(f"configs/prune/{config}.yaml"))) / 1e9 == pytest.approx(
        published, abs=0.01
    )


def test_design_numbers_of_base_at_stride_12():
    whole = unpruned("vit_base", stride=12, cameras=6)
    cut = spread(load_config("configs/prune/market_base_h25_t25.yaml"))
    giga_macs = [
        round(macs / 1e9, 1)
        for architecture in (whole, cut)
        for macs in (macs_reference(architecture), macs_folded(architecture))
    ]
    assert giga_macs == [20.4, 17.3, 14.8, 11.8]
    assert parameters(whole) / 1e6 == pytest.approx(92.90, abs=0.005)


@pytest.mark.parametrize("name", ["market_base_s12", "occduke_small_s11"])
def test_fvcore_counts_the_same_on_the_plain_form(name):
    golden = case(name)
    # the counts depend on shapes alone
    with undrawn():
        network = TransReID(golden.architecture).eval()
    counter = FlopCountAnalysis(network, (golden.images[:1], golden.cameras[:1]))
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counted = {key: value for key, value in counter.by_operator().items() if key != "layer_norm"}
    assert set(counted) == {"conv", "linear", "matmul"}
    assert sum(counted.values()) == pytest.approx(macs_reference(network.architecture), rel=0.005)


@pytest.mark.parametrize("make", [lite.pruned, lite.thinned])
@pytest.mark.parametrize("mode", ["bypass", "kv"])
@pytest.mark.parametrize("jpm", [True, False])
@pytest.mark.parametrize("variant", ["vit_lite", "hybrid_lite"])
def test_fvcore_counts_the_same_on_pruned_plain_and_folded_forms(make, mode, jpm, variant):
    network = make(mode=mode, jpm=jpm, variant=variant)
    images, _, cameras = lite.batch(1)
    for form, macs in ((network, macs_reference), (Folded(network, lite.SPEC), macs_folded)):
        counter = FlopCountAnalysis(form.eval(), (images, cameras))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = counter.by_operator()
        total = sum(value for key, value in counts.items() if key in {"conv", "linear", "matmul"})
        assert total == pytest.approx(macs(network.architecture), rel=0.005)
    if variant == "vit_lite":
        assert patch_macs(network.architecture) == counts["conv"]


def test_command_line_prints_one_document(capsys):
    assert main(["--config", "configs/prune/occ_duke_base_h25_t25.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    counts = {"heads", "tokens", "hidden"}
    assert set(document) == {"macs_paper", "macs_reference", "macs_folded", "params", *counts}
    assert document["hidden"] == [3072] * 11
    assert document["heads"] == [9] * 11
    assert sum(243 - tokens for tokens in document["tokens"]) == int(242 * 11 * 0.25)


def test_settings_for_a_model_that_holds_its_own_are_refused():
    with pytest.raises(ConfigError, match="--set model.jpm=false has no effect"):
        main(["m.safetensors", "--set", "model.jpm=false"])


def test_narrower_mlps_and_removed_blocks_save_their_products_by_hand():
    whole = unpruned("vit_base", stride=12, cameras=6)
    first, *rest = whole.blocks
    narrow = whole.with_blocks((dataclasses.replace(first, hidden=1000), *rest))
    saved = 2 * 211 * (3072 - 1000) * 768
    for count in (macs_paper, macs_reference, macs_folded):
        assert count(whole) - count(narrow) == saved
    short = whole.with_blocks((REMOVED, *rest))
    block = 4 * 211 * 768 * 768 + 2 * 211 * 211 * 768 + 2 * 211 * 3072 * 768
    assert macs_reference(whole) - macs_reference(short) == block
    assert macs_folded(whole) - macs_folded(short) == block
    assert macs_paper(whole) - macs_paper(short) == block + 12 * 211 * 211


def test_a_configuration_spreads_neurons_and_blocks_too():
    overrides = ["prune.mlp.pruned=0.25", "prune.blocks.removed=2", "prune.heads.fraction=0.25"]
    architecture = spread(load_config("configs/prune/market_base_h25_t25.yaml", overrides))
    assert architecture.hidden == (2304,) * 9 + (0, 0)
    assert [len(block.heads) for block in architecture.blocks] == [9] * 9 + [0, 0]
    named = spread(load_config("configs/prune/market_base_h25_t25.yaml", ["prune.blocks.removed=[0,3]"]))
    assert [index for index, block in enumerate(named.blocks) if block.removed] == [0, 3]


@pytest.mark.parametrize("make", [lite.pruned, lite.thinned])
def test_parameters_are_what_inference_reads(make):
    """Independently: a parameter is read when the descriptor's gradient reaches it."""
    network = make()
    images, _, cameras = lite.batch(2)
    network(images, cameras).sum().backward()
    reached = sum(p.numel() for p in network.parameters() if p.grad is not None)
    assert parameters(network.architecture) == reached
    assert torch.isfinite(network(images, cameras)).all()
