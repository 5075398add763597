"""Checkpoints and configurations of CLIP-ReID and PASS in their authors' layout."""

import pytest
import torch

from prune.cli.convert import main
from prune.config.load import load_config
from prune.model.architecture import unpruned
from prune.model.file import load_model
from prune.model.transreid import TransReID
from prune.session import open_weights
from runtime.entry import guarded
from runtime.errors import ConfigError
from tests.fakes.families import family_case

CLIP_YML = """
MODEL: {NAME: 'ViT-B-16', STRIDE_SIZE: [16, 16], ID_LOSS_WEIGHT: 0.25, I2T_LOSS_WEIGHT: 1.0, IF_LABELSMOOTH: 'on'}
INPUT: {SIZE_TRAIN: [256, 128], SIZE_TEST: [256, 128], PIXEL_MEAN: [0.5, 0.5, 0.5], PIXEL_STD: [0.5, 0.5, 0.5]}
DATALOADER: {SAMPLER: softmax_triplet, NUM_INSTANCE: 4}
SOLVER:
  STAGE1: {IMS_PER_BATCH: 32, BASE_LR: 0.00035, LR_MIN: 1e-6, WARMUP_LR_INIT: 0.00001}
  STAGE2: {IMS_PER_BATCH: 64, OPTIMIZER_NAME: Adam, BASE_LR: 0.000005, WARMUP_ITERS: 10, WARMUP_FACTOR: 0.1, MAX_EPOCHS: 60}
TEST: {NECK_FEAT: before}
DATASETS:
"""
PASS_YML = """
MODEL: {PRETRAIN_HW_RATIO: 2, TRANSFORMER_TYPE: vit_small_patch16_224_TransReID, NAME: transformer, STRIDE_SIZE: [16, 16]}
INPUT: {SIZE_TRAIN: [256, 128], SIZE_TEST: [256, 128], PIXEL_MEAN: [0.5, 0.5, 0.5], PIXEL_STD: [0.5, 0.5, 0.5]}
DATASETS: {NAMES: market1501}
SOLVER: {IMS_PER_BATCH: 64}
DATALOADER: {NUM_INSTANCE: 4}
TEST: {NECK_FEAT: before}
"""
# Names of the authors -> ours, in the opposite direction of the importer.
CLIP_NAMES = (
    ("base.blocks.", "image_encoder.transformer.resblocks."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".norm1.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    ("base.norm_pre.", "image_encoder.ln_pre."),
    ("base.norm.", "image_encoder.ln_post."),
    ("base.patch_embed.proj.weight", "image_encoder.conv1.weight"),
)


def network(family, **changes):
    torch.manual_seed(0)
    variant = "clip_base" if family == "clip" else "deit_tiny"
    settings = {"jpm": False, "depth": 2, "identities": 20} | changes
    return TransReID(unpruned(variant, family=family, **settings)).eval()


def authors_state(model):
    """Return the state of `model` as its authors' program saves it."""
    state = dict(model.state_dict())
    if model.architecture.family != "clip":
        tokens, positions = state.pop("base.cls_token"), state.pop("base.pos_embed")
        state |= {"base.cls_token": tokens[:, :1], "base.cls_pos": positions[:, :1]}
        for part in (1, 2, 3):
            state[f"base.part_token{part}"] = tokens[:, part : part + 1]
            state[f"base.part{part}_pos"] = positions[:, part : part + 1]
        return state | {"base.pos_embed": positions[:, 4:], "base.fc.weight": torch.zeros(7, 192)}
    renamed = {
        "image_encoder.class_embedding": state.pop("base.cls_token")[0, 0],
        "image_encoder.positional_embedding": state.pop("base.pos_embed")[0],
        "image_encoder.proj": state.pop("output.proj.weight").T,
    }
    del state["base.patch_embed.proj.bias"]
    if "base.sie_embed" in state:
        renamed["cv_embed"] = state.pop("base.sie_embed")[:, 0]
    for key, value in state.items():
        for ours, theirs in CLIP_NAMES:
            key = key.replace(ours, theirs)
        renamed[key] = value
    return renamed


def converted(tmp_path, data, *options, code=0):
    torch.save(data, tmp_path / "x.pth")
    out = tmp_path / "m.safetensors"
    assert guarded(main, [str(tmp_path / "x.pth"), "--out", str(out), *options]) == code
    return load_model(out) if code == 0 else None


def zero_bias(model):
    """The patch convolution of CLIP has no bias."""
    with torch.no_grad():
        model.base.patch_embed.proj.bias.zero_()
    return model


@pytest.mark.parametrize("name", ["clipreid_base_s16", "pass_small_s16"])
def test_the_made_up_layout_is_that_of_the_authors(name):
    keys = family_case(name).meta["keys"]
    ours = authors_state(network("clip" if "clip" in name else "pass"))
    theirs = {key for key in keys if not any(f"blocks.{index}." in key for index in range(2, 12))}
    assert set(ours) | {"base.fc.bias"} == theirs | {"base.fc.bias"}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("changes", [{}, {"cameras": 6, "stride": 12}])
def test_a_clip_checkpoint_comes_back_and_its_text_side_is_left_out(changes, prefix, tmp_path, capsys):
    model = zero_bias(network("clip", **changes))
    text = {key: torch.ones(2) for key in family_case("clipreid_base_s16").meta["keys_text"]}
    state = {f"{prefix}{key}": value for key, value in (authors_state(model) | text).items()}
    loaded, _ = converted(tmp_path, state)
    assert loaded.architecture == model.architecture
    images = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    error = capsys.readouterr().err
    assert "text_encoder.*" in error and "prompt_learner.*" in error and "CLIP-ReID" in error


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("family", ["pass", "pass_mean", "pass_one_neck", "pass_mean_one_neck"])
def test_the_tensors_say_the_necks_and_the_fusion_of_pass(family, prefix, tmp_path):
    model = network(family)
    state = {f"{prefix}{key}": value for key, value in authors_state(model).items()}
    loaded, _ = converted(tmp_path, state)
    assert loaded.architecture == model.architecture
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_an_incomplete_pass_checkpoint_is_named_by_its_tensors(tmp_path, capsys):
    state = authors_state(network("pass"))
    del state["base.part_token2"]
    converted(tmp_path, state, code=4)
    assert "part_token" in capsys.readouterr().err


def test_the_authors_file_of_clip_describes_the_model_and_its_second_stage(tmp_path):
    (tmp_path / "c.yml").write_text(CLIP_YML)
    overrides = ["MODEL.SIE_CAMERA=True", "MODEL.SIE_COE=1.0", "SOLVER.STAGE2.BASE_LR=1e-5"]
    config = load_config(tmp_path / "c.yml", [*overrides, "MODEL.STRIDE_SIZE=[12, 12]"])
    model, train = config.model, config.train
    assert (model.family, model.variant, model.stride, model.cameras) == ("clip", "clip_base", 12, 6)
    assert (model.sie_coefficient, model.jpm, model.neck) == (1.0, False, "before")
    assert config.input.interpolation == "bilinear" and config.data.layout == "market1501"
    assert (train.optimizer, train.lr, train.epochs) == ("adam", 1e-5, 60)
    assert (train.warmup_epochs, train.warmup_factor, train.identities) == (10, 0.1, 16)
    # The authors add two identity and two triplet losses; ours are means.
    assert (train.identity_weight, train.metric_weight) == (0.5, 2)
    expected = zero_bias(network("clip", cameras=6, stride=12, sie_coefficient=1.0))
    options = ["--config", str(tmp_path / "c.yml")]
    for override in (*overrides, "MODEL.STRIDE_SIZE=[12, 12]"):
        options += ["--set", override]
    loaded, manifest = converted(tmp_path, authors_state(expected), *options)
    assert loaded.architecture == expected.architecture
    assert manifest["input"]["dataset"] == "market1501"


@pytest.mark.parametrize(
    ("overrides", "cameras"),
    [(["MODEL.SIE_CAMERA=True", "MODEL.SIE_VIEW=True"], 6), (["MODEL.SIE_VIEW=True"], 1), ([], 0)],
)
def test_the_views_of_people_add_no_rows_to_the_camera_table(overrides, cameras, tmp_path):
    (tmp_path / "c.yml").write_text(CLIP_YML)
    assert load_config(tmp_path / "c.yml", overrides).model.cameras == cameras


@pytest.mark.parametrize("override", ["SOLVER.STAGE2.FOO=1", "SOLVER.STAGE1=3", "MODEL.NAME=RN50"])
def test_a_mistake_in_a_file_of_clip_is_named(override, tmp_path):
    (tmp_path / "c.yml").write_text(CLIP_YML)
    with pytest.raises(ConfigError, match="FOO|STAGE1|RN50"):
        load_config(tmp_path / "c.yml", [override])


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        ([], "vit"),
        (["MODEL.FEAT_FUSION=mean"], "pass_mean"),
        (["MODEL.MULTI_NECK=False"], "pass_one_neck"),
        (["MODEL.MULTI_NECK=False", "MODEL.FEAT_FUSION=mean"], "pass_mean_one_neck"),
        (["MODEL.MULTI_NECK=True", "MODEL.FEAT_FUSION=cat"], "pass"),
    ],
)
def test_the_keys_of_pass_show_its_family(keys, family, tmp_path):
    (tmp_path / "c.yml").write_text(PASS_YML)
    config = load_config(tmp_path / "c.yml", keys)
    assert (config.model.family, config.model.variant, config.model.jpm) == (family, "deit_small", False)


@pytest.mark.parametrize("family", ["pass", "pass_mean", "pass_one_neck", "pass_mean_one_neck"])
def test_the_published_file_of_pass_goes_with_its_checkpoint_and_with_our_model(family, tmp_path):
    (tmp_path / "c.yml").write_text(PASS_YML)
    model = TransReID(unpruned("deit_small", family=family, jpm=False, identities=20)).eval()
    loaded, _ = converted(tmp_path, authors_state(model), "--config", str(tmp_path / "c.yml"))
    assert loaded.architecture == model.architecture
    config = load_config(tmp_path / "c.yml")
    assert open_weights(tmp_path / "m.safetensors", config)[1].architecture == model.architecture


def test_pass_with_cameras_or_a_convolutional_stem_is_refused(tmp_path, capsys):
    (tmp_path / "c.yml").write_text(PASS_YML)
    options = ["--config", str(tmp_path / "c.yml"), "--set", "MODEL.SIE_CAMERA=True"]
    converted(tmp_path, authors_state(network("pass")), *options, code=2)
    assert "model.cameras=0" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="STEM_CONV"):
        load_config(tmp_path / "c.yml", ["MODEL.STEM_CONV=True", "MODEL.MULTI_NECK=True"])
