"""Checkpoints that say themselves what they are: family, variant, depth and input from the tensors, with and without --config."""

import pytest
import torch

from prune.cli.convert import main
from prune.importing.recognise import recognise, refuse_foreign
from prune.model.architecture import Architecture, unpruned
from prune.model.file import load_model
from prune.model.transreid import TransReID
from prune.session import open_weights
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError
from tests.fakes import lite
from tests.fakes.undrawn import undrawn

SUCCESSOR = """
MODEL: {{PRETRAIN_HW_RATIO: 2, TRANSFORMER_TYPE: vit_small_patch16_224_TransReID, STRIDE_SIZE: [16, 16], {model}}}
INPUT: {{SIZE_TRAIN: [256, 128], SIZE_TEST: [256, 128], PIXEL_MEAN: [0.5, 0.5, 0.5], PIXEL_STD: [0.5, 0.5, 0.5]}}
DATASETS: {{NAMES: market1501}}
SOLVER: {{IMS_PER_BATCH: 64}}
DATALOADER: {{NUM_INSTANCE: 4}}
TEST: {{NECK_FEAT: {neck}}}
"""


def tiny(**changes):
    """Return a model of two or three narrow blocks, as these projects make them, with a classifier of 20 people."""
    return TransReID(unpruned("deit_tiny", **({"jpm": False, "depth": 2, "identities": 20} | changes))).eval()


def authors_state(model):
    """Return the state in the authors' layout: the JPM's checkpoints also hold the block that it replaces and the last norm."""
    state = dict(model.state_dict()) | {"base.fc.weight": torch.zeros(7, 192), "base.fc.bias": torch.zeros(7)}
    if model.architecture.jpm:
        last = model.architecture.vit.depth - 1
        state |= {f"base.blocks.{last}.{key}": value for key, value in model.b1[0].state_dict().items()}
        state |= {f"base.norm.{key}": value for key, value in model.b1[1].state_dict().items()}
    return state


def converted(tmp_path, data, *options, code=0):
    torch.save(data, tmp_path / "x.pth")
    out = tmp_path / "m.safetensors"
    assert guarded(main, [str(tmp_path / "x.pth"), "--out", str(out), *options]) == code
    return load_model(out) if code == 0 else None


WRAPPERS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "model": lambda state: {"model": state, "epoch": 3},
    "teacher": lambda state: {"teacher": {f"backbone.{key}": value for key, value in state.items()}},
    "encoder": lambda state: {key.replace("base.", "encoder.", 1): value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("wrapped", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("family", ["vit", "ics"])
def test_without_a_configuration_the_tensors_say_the_model(family, wrapped, tmp_path, capsys):
    network = tiny(family=family)
    model, manifest = converted(tmp_path, wrapped(authors_state(network)))
    assert model.architecture == network.architecture
    images = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(images), network(images))
    assert manifest["input"]["interpolation"] == "bilinear" and manifest["input"]["dataset"] is None
    lines = [line for line in capsys.readouterr().err.splitlines() if "recognised" in line]
    assert len(lines) == 1 and "192 x 2 x 3" in lines[0] and ("ICS" in lines[0]) == (family == "ics")


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 12},
        {"height": 384},
        {"depth": 5, "cameras": 6},
        {"jpm": True, "depth": 3, "cameras": 6, "stride": 12},
        {"family": "ics", "height": 384, "cameras": 8},
        {"family": "ics", "jpm": True, "depth": 3},
    ],
)
def test_other_settings_of_a_family_are_recognised_too(changes, tmp_path):
    network = tiny(**changes)
    assert converted(tmp_path, authors_state(network))[0].architecture == network.architecture


@pytest.mark.parametrize(("variant", "width"), [("vit_base", 768), ("deit_small", 384), ("vit_small", 768)])
def test_the_variant_follows_from_the_sizes(variant, width):
    with undrawn():
        state = TransReID(unpruned(variant, jpm=False)).state_dict()
    recognised = recognise(state)
    assert recognised.variants[0] == variant and recognised.depth == (8 if variant == "vit_small" else 12)


def test_our_own_variants_of_the_same_width_are_told_apart_by_their_depth():
    assert recognise(lite.model().state_dict()).variants[0] == "vit_lite"
    assert recognise(lite.model(variant="hybrid_lite").state_dict()).variants == ("hybrid_lite",)


@pytest.mark.parametrize(
    ("model", "neck", "expected"),
    [
        ("STEM_CONV: True", "before", {"family": "ics"}),
        ("POOLING: gem", "before", {"pooling": "gem"}),
        ("POOLING: avg_max", "after", {"pooling": "avg_max", "neck": "after"}),
        ("GEM_POOLING: True", "before", {"pooling": "gem"}),
        ("SIE_CAMERA: True", "before", {"cameras": 6}),
        ("JPM: True, POOLING: avg, STEM_CONV: True", "before", {"jpm": True, "depth": 3}),
    ],
)
def test_the_authors_file_says_what_the_tensors_do_not(model, neck, expected, tmp_path, capsys):
    network = tiny(**expected)
    (tmp_path / "c.yml").write_text(SUCCESSOR.format(model=model, neck=neck))
    model, manifest = converted(tmp_path, authors_state(network), "--config", str(tmp_path / "c.yml"))
    assert model.architecture == network.architecture
    assert manifest["input"]["dataset"] == "market1501" and manifest["input"]["interpolation"] == "bilinear"
    # the file's vit_small is 384 x 12
    assert "variant deit_small" in capsys.readouterr().err


def test_a_pooling_without_a_file(tmp_path):
    model, _ = converted(
        tmp_path, authors_state(tiny()), "--set", "model.pooling=max", "--set", "model.neck=after"
    )
    assert (model.architecture.pooling, model.architecture.neck) == ("max", "after")


def test_position_embeddings_that_fit_several_sizes_are_left_to_the_user(tmp_path, capsys):
    state = authors_state(tiny(height=224, width=224, stride=13))
    torch.save(state, tmp_path / "x.pth")
    assert guarded(main, [str(tmp_path / "x.pth"), "--out", str(tmp_path / "m.safetensors")]) == 4
    error = capsys.readouterr().err
    assert "[256, 256]" in error and "[224, 224]" in error
    given = ["--set", "model.size=[224, 224]", "--set", "model.stride=13"]
    assert converted(tmp_path, state, *given)[0].architecture.grid == (17, 17)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("base.stages.0.blocks.0.attn.w_msa.relative_position_bias_table", "Swin"),
        ("base.semantic_embed_w.0.weight", "Swin"),
        ("backbone.layer1.0.conv1.weight", "ResNet"),
        ("conv2.0.conv2a.conv1.weight", "OSNet"),
        ("blocks.0.ls1.gamma", "DINOv3"),
        ("features.0.weight", "no vision transformer"),
    ],
)
def test_other_networks_are_refused_with_the_way_that_works(name, network, tmp_path, capsys):
    with pytest.raises(ArtifactError, match="python -m export adopt") as caught:
        refuse_foreign({name: torch.zeros(3, 3)}, "x.pth")
    assert network in str(caught.value)
    converted(tmp_path, {"state_dict": {name: torch.zeros(3, 3)}}, code=4)
    error = capsys.readouterr().err
    assert error.startswith("error[4]") and error.count("\n") == 1 and "export adopt" in error


def test_weights_of_a_plain_vit_are_sent_to_training(tmp_path, capsys):
    state = {key.removeprefix("base."): value for key, value in tiny().base.state_dict().items()}
    converted(
        tmp_path, {"teacher": {f"module.backbone.{key}": value for key, value in state.items()}}, code=4
    )
    assert "--init" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"family": "ics", "stride": 12}, "model.stride=16"),
        ({"family": "ics", "height": 255}, "multiples of 16"),
        ({"pooling": "avg"}, "model.jpm=false"),
        ({"jpm": False, "pooling": "avg_max", "stride": 11}, "another size or stride"),
        ({"family": "swin"}, "not one of vit, ics"),
        ({"depth": 1}, "model.depth 1"),
    ],
)
def test_settings_that_no_model_of_the_family_has_are_refused(changes, advice):
    with pytest.raises(ConfigError, match=advice):
        unpruned("deit_small", **changes)


def test_old_shapes_stay_as_they_are_and_new_fields_come_back():
    old = lite.architecture().to_json()
    assert not {"family", "pooling", "depth"} & set(old)
    for network in (tiny(family="ics"), tiny(pooling="gem"), tiny(depth=12)):
        shape = network.architecture.to_json()
        assert Architecture.from_json(shape) == network.architecture
    assert "depth" not in tiny(depth=12).architecture.to_json()


def test_a_checkpoint_is_evaluated_without_a_file_too(tmp_path):
    torch.save(authors_state(tiny()), tmp_path / "x.pth")
    artifact, model = open_weights(tmp_path / "x.pth", None, overrides=["model.pooling=max"])
    assert model.architecture == tiny(pooling="max").architecture
    assert (artifact.spec.interpolation, artifact.spec.dataset, artifact.dim) == ("bilinear", None, 192)


def test_what_had_to_be_assumed_can_be_set(tmp_path, capsys):
    settings = [
        "input.interpolation=bicubic",
        "input.mean=[0.1, 0.2, 0.3]",
        "model.neck=after",
        "model.pooling=gem",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    model, manifest = converted(tmp_path, authors_state(tiny()), *options)
    assert (model.architecture.neck, model.architecture.pooling) == ("after", "gem")
    assert (manifest["input"]["interpolation"], manifest["input"]["mean"]) == ("bicubic", [0.1, 0.2, 0.3])
    assert "so assumed: std 0.5 (--config" in capsys.readouterr().err


def test_settings_that_the_tensors_contradict_are_named(tmp_path, capsys):
    settings = ["model.stride=12", "model.jpm=true", "model.depth=12", "model.variant=deit_small"]
    options = [word for setting in settings for word in ("--set", setting)]
    model, _ = converted(tmp_path, authors_state(tiny()), *options)
    assert model.architecture == tiny().architecture
    said = "--set says model.depth 12, model.jpm True, model.stride 12, model.variant deit_small, but the tensors decide"
    assert said in capsys.readouterr().err


def test_a_wrong_setting_is_an_error_before_the_file_is_read(tmp_path, capsys):
    words = [str(tmp_path / "none.pth"), "--out", str(tmp_path / "m.safetensors"), "--set"]
    assert guarded(main, [*words, "model.poling=gem"]) == 2
    assert "pooling" in capsys.readouterr().err
    assert guarded(main, [*words, "MODEL.JPM=True"]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_a_size_that_is_set_keeps_its_stride(tmp_path):
    # 466 position embeddings fit 256 x 128 at stride 8, and 384 x 192 at stride 12
    network = tiny(height=384, width=192, stride=12)
    model, _ = converted(tmp_path, authors_state(network), "--set", "model.size=[384, 192]")
    assert model.architecture == network.architecture


def test_overrides_of_a_model_that_holds_its_own_architecture_are_refused(tmp_path):
    converted(tmp_path, authors_state(tiny()))
    with pytest.raises(ConfigError, match="model.pooling=max"):
        open_weights(tmp_path / "m.safetensors", None, overrides=["model.pooling=max"])


def test_a_block_number_of_thousands_of_digits_is_refused_in_one_line(tmp_path, capsys):
    state = authors_state(tiny()) | {f"base.blocks.{'9' * 5000}.norm1.weight": torch.zeros(3)}
    converted(tmp_path, state, code=4)
    assert capsys.readouterr().err.count("\n") == 1
