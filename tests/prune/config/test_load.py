"""Configurations: ours, the authors', overrides, and errors that name the key."""

from pathlib import Path

import pytest
import yaml

from prune.config.load import Config, load_config
from prune.config.settings import TrainConfig
from prune.scoring.scores import count_from_fraction
from runtime.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PUBLISHED = ("market_base", "occ_duke_base")

# The structure of AMG's OCC_Duke head configuration, as its users write it.
AUTHORS = """
MODEL:
  TRANSFORMER_TYPE: 'vit_base_patch16_224_TransReID'
  STRIDE_SIZE: [11, 11]
  SIE_CAMERA: True
  SIE_COE: 3.0
  JPM: True
  RE_ARRANGE: True
  NO_MARGIN: True
  IF_LABELSMOOTH: 'off'
  DEVICE_ID: ('0')
INPUT:
  SIZE_TRAIN: [256, 128]
  SIZE_TEST: [256, 128]
  PROB: 0.5
  RE_PROB: 0.0
  PADDING: 10
  PIXEL_MEAN: [0.5, 0.5, 0.5]
  PIXEL_STD: [0.5, 0.5, 0.5]
DATASETS:
  NAMES: ('occ_duke')
  ROOT_DIR: ('../../data')
DATALOADER:
  SAMPLER: 'softmax_triplet'
  NUM_INSTANCE: 4
SOLVER:
  OPTIMIZER_NAME: 'SGD'
  MAX_EPOCHS: 20
  BASE_LR: 1e-4
  IMS_PER_BATCH: 64
  WARMUP_EPOCHS: 0
  WEIGHT_DECAY: 1e-4
  WEIGHT_DECAY_BIAS: 1e-4
  BIAS_LR_FACTOR: 2
FINETUNE:
  PRUNE_MODE: 'head_entropy'
  PRUNE_RATE: 0.25
  ITER_NUM: 33
  FINE_NUM: 2
  FINAL_NUM: 150
  DISTILL_TYPE: 'soft'
  DISTILL_ALPHA: 2.0
  DISTILL_TAU: 10.0
TEST:
  NECK_FEAT: 'before'
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_has_a_readable_head(path):
    config = load_config(path)
    assert config.architecture().tokens > 1
    assert config.train.for_final().epochs == config.train.final_epochs > config.train.warmup_epochs
    assert path.read_text().startswith("# ")


def test_the_files_that_scripts_name_exist():
    config_files = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")}
    pruned = {f"prune/{name}_{what}.yaml" for name in PUBLISHED for what in ("h25", "t25", "h25_t25")}
    small = {f"prune/occ_duke_small_{what}.yaml" for what in ("h40", "t40", "h40_t40")}
    teachers = {"market_base_s12", "occ_duke_base_s11", "occ_duke_small_s11", "demo", "hybrid"}
    assert config_files == pruned | small | {f"train/{name}.yaml" for name in teachers} | {
        "prune/hybrid.yaml",
        "prune/study.yaml",
    }


@pytest.mark.parametrize(
    "name, heads, tokens",
    [
        ("market_base_h25_t25", 33, 577),
        ("occ_duke_base_h25_t25", 33, 665),
        ("occ_duke_small_h40_t40", 22, 677),
    ],
)
def test_the_published_pairs_remove_the_published_counts(name, heads, tokens):
    config = load_config(CONFIGS / "prune" / f"{name}.yaml")
    architecture = config.architecture()
    assert (
        count_from_fraction(config.prune.heads.fraction, architecture.vit.heads, architecture.prunable)
        == heads
    )
    assert (
        count_from_fraction(config.prune.tokens.fraction, architecture.patches, architecture.prunable)
        == tokens
    )


@pytest.mark.parametrize("section", ["model", "input", "data", "prune", "train"])
def test_the_readme_explains_every_key(section):
    text = (CONFIGS / "README.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    explained = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))

    def keys(value, prefix=""):
        for key, inner in vars(value).items():
            yield from keys(inner, f"{key}.") if hasattr(inner, "__dataclass_fields__") else [prefix + key]

    # Keys of one row share its prefix: `distill.alpha`, `distill.temperature`.
    missing = [key for key in keys(getattr(Config(), section)) if f"`{key}`" not in explained]
    assert not missing


def test_the_authors_file_is_translated_into_our_keys(write):
    config = load_config(write(AUTHORS))
    architecture, train, prune = config.architecture(), config.train, config.prune
    assert (architecture.variant, architecture.stride, architecture.tokens, architecture.dim) == (
        "vit_base",
        11,
        243,
        3840,
    )
    assert (architecture.cameras, architecture.identities, config.data.root) == (
        8,
        702,
        "../../data/Occluded_Duke",
    )
    assert (prune.heads.fraction, prune.heads.rounds, prune.tokens.fraction) == (0.25, 33, 0)
    assert (train.optimizer, train.lr, train.identities, train.images) == ("sgd", 1e-4, 16, 4)
    assert (train.epochs, train.warmup_epochs, train.fine_epochs, train.final_epochs) == (20, 0, 2, 150)
    assert (train.erasing, train.margin, train.label_smoothing, train.bias_lr_factor) == (0, None, 0, 2)
    assert vars(train.distill) == {"type": "soft", "alpha": 2, "temperature": 10}
    assert (prune.identities, prune.images) == (16, 4)


def test_our_copy_of_their_recipe_equals_the_translation(write):
    theirs, ours = load_config(write(AUTHORS)), load_config(CONFIGS / "prune" / "occ_duke_base_h25.yaml")
    assert theirs.prune == ours.prune and theirs.architecture() == ours.architecture()
    # MAX_EPOCHS is their scheduler's length; ours runs over final_epochs.
    assert {**vars(theirs.train), "epochs": 0} == {**vars(ours.train), "epochs": 0}


def test_their_defaults_apply_where_keys_are_missing(write):
    text = "MODEL: {TRANSFORMER_TYPE: vit_base_patch16_224_TransReID}\n"
    train = load_config(write(text)).train
    assert (train.optimizer, train.lr, train.identities * train.images) == ("adam", 3e-4, 64)
    assert (train.images, train.margin, train.label_smoothing) == (16, 0.3, 0.1)


@pytest.mark.parametrize(
    "override, words",
    [
        ("MODEL.SIE_VIEW=true", "MODEL.SIE_VIEW"),
        ("MODEL.DEVIDE_LENGTH=6", "DEVIDE_LENGTH 6 is not supported"),
        ("MODEL.IF_WITH_CENTER=yes", "IF_WITH_CENTER True is not supported"),
        ("DATALOADER.SAMPLER=softmax", "SAMPLER 'softmax' is not supported.* 'softmax_triplet'"),
        ("SOLVER.IMS_PER_BATCH=66", "IMS_PER_BATCH 66 is not a multiple"),
        ("FINETUNE.PRUNE_MODE=token", "not one of attn, head_entropy"),
        ("DATASETS.NAMES=veri", "not one of market1501"),
        ("DATASETS.NAMES=(market1501,msmt17)", "DATASETS.NAMES"),
        ("DATASETS.NAMES=[market1501, msmt17]", "DATASETS.NAMES .* 2 data sets"),
        ("DATASETS.NAMES=mm", "DATASETS.NAMES 'mm'"),
        ("MODEL.POOLING=sum", "MODEL.POOLING 'sum' is not supported"),
        ("MODEL.REDUCE_FEAT_DIM=true", "MODEL.REDUCE_FEAT_DIM True is not supported"),
        ("MODEL.DROP_OUT=0.1", "MODEL.DROP_OUT 0.1 is not supported"),
        ("MODEL.NECK='no'", "MODEL.NECK 'no' is not supported"),
        ("MODEL.NAME=resnet50", "MODEL.NAME 'resnet50'"),
        ("MODEL.TRANSFORMER_TYPE=vit_large_patch16_224", "MODEL.TRANSFORMER_TYPE 'vit_large"),
        ("MODEL.TRANSFORMER_TYPE=vit_base_patch32_224", "MODEL.TRANSFORMER_TYPE 'vit_base_patch32"),
        ("INPUT.SIZE_TEST=[384, 128]", r"INPUT.SIZE_TEST \[384, 128\]"),
        ("MODEL.STRIDE_SIZE=[12, 16]", "MODEL.STRIDE_SIZE"),
    ],
)
def test_a_value_that_is_not_supported_is_refused_by_its_key(write, override, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(AUTHORS), [override])


def test_overrides_reach_nested_keys_of_ours_and_of_theirs(write):
    overrides = [
        "SOLVER.BASE_LR=0.5",
        "train.epochs=7",
        "prune.tokens.fraction=0.4",
        "train.lr_min_factor=1e-2",
    ]
    config = load_config(write(AUTHORS), overrides)
    assert (config.train.lr, config.train.epochs, config.prune.tokens.fraction) == (0.5, 7, 0.4)
    assert config.train.lr_min_factor == 0.01


@pytest.mark.parametrize(
    "text, words",
    [
        ("train: {learning_rate: 1}", r"c\.yaml: train: unknown key learning_rate; "),
        ("train: {warmup_epoch: 1}", "unknown key warmup_epoch; did you mean warmup_epochs"),
        ("train: {distill: {tau: 1, type: soft}}", "distill: unknown key tau"),
        ("trian: {}", "unknown key trian; did you mean train"),
        ("train: {lr: fast}", "train: lr must be a number, not 'fast'"),
        ("train: {lr: .nan}", "lr must be at least"),
        ("train: {epochs: 1.5}", "epochs must be a whole number, not 1.5"),
        ("train: {optimizer: lion}", r"c\.yaml: train: optimizer 'lion' is not one of sgd, adam, adamw"),
        ("train: {identities: 1}", "identities must be at least 2, not 1"),
        ("train: {erasing: 1.5}", r"erasing must be within 0\.\.1, not 1\.5"),
        ("train: {distill: {type: firm}}", r"train: distill: type 'firm' is not one of none, soft, hard"),
        ("prune: {mode: skip}", "mode 'skip' is not one of bypass, kv"),
        ("train: 3", "train: must be a section"),
        ("train: [", "YAML"),
        ("3", "not a configuration"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(write, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(text))


def test_numbers_may_be_strings_and_an_empty_file_is_the_defaults(write):
    text = yaml.safe_dump({"train": {"lr": "1e-3"}})
    assert load_config(write(text)).train.lr == 1e-3
    assert load_config(write("")) == Config() and Config().train == TrainConfig()


@pytest.mark.parametrize(
    "change, words",
    [
        (("STRIDE_SIZE", "STRIDE_SIZ"), r"c\.yaml: MODEL: unknown key STRIDE_SIZ; did you mean STRIDE_SIZE"),
        (("MODEL:", "tMODEL:"), r"c\.yaml: unknown section tMODEL; did you mean MODEL"),
        (("MODEL:", "Model:"), "unknown section Model; did you mean MODEL"),
        (("MAX_EPOCHS", "MAX_ITER"), "SOLVER: unknown key MAX_ITER; "),
        (("JPM: True", "IMS_PER_BATCH: 64"), "unknown key IMS_PER_BATCH; did you mean SOLVER.IMS_PER_BATCH"),
        (("JPM: True", "jpm: True"), "unknown key jpm; did you mean JPM"),
        (("JPM: True", "JPM: maybe"), r"c\.yaml: MODEL.JPM must be True or False, not 'maybe'"),
        (("BASE_LR: 1e-4", "BASE_LR: fast"), "SOLVER.BASE_LR must be a number, not 'fast'"),
        (("MAX_EPOCHS: 20", "MAX_EPOCHS: 2.5"), "SOLVER.MAX_EPOCHS must be a whole number"),
        (("[0.5, 0.5, 0.5]", "[0.5, 0.5]"), "INPUT.PIXEL_MEAN must be a list of 3 numbers"),
        (("PADDING: 10", "PADDING: 10\n  PADDING: 0"), r"c\.yaml: .* PADDING .*twice"),
    ],
)
def test_a_mistake_in_their_keys_is_named_as_it_was_written(write, change, words):
    assert change[0] in AUTHORS
    with pytest.raises(ConfigError, match=words):
        load_config(write(AUTHORS.replace(*change)))


@pytest.mark.parametrize(
    "override, words",
    [
        (
            "MODEL.STRIDESIZE=[12,12]",
            r"--set MODEL.STRIDESIZE=.* unknown key STRIDESIZE; did you mean STRIDE_SIZE",
        ),
        ("MODELS.JPM=true", r"--set .* unknown section MODELS; did you mean MODEL"),
        ("MODEL=3", r"--set MODEL=3: .*SECTION.KEY"),
        ("MODEL.JPM=maybe", r"--set MODEL.JPM=maybe: MODEL.JPM must be"),
        ("train.learning_rate=1", r"--set train.learning_rate=1: train: unknown key learning_rate"),
        ("train.lr=fast", r"--set train.lr=fast: train: lr must be a number"),
        ("train..lr=1", r"--set train\.\.lr=1: .*section\.key"),
        ("train.lr=[", r"--set train.lr=\[: .*YAML"),
    ],
)
def test_a_mistake_in_an_override_names_the_override(write, override, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(AUTHORS), [override])


def test_their_section_on_a_file_of_ours_is_refused(write):
    with pytest.raises(ConfigError, match="--set MODEL.JPM=true: MODEL .*authors"):
        load_config(write("train: {epochs: 3}"), ["MODEL.JPM=true"])


@pytest.mark.parametrize(
    "project, key, text",
    [
        ("CLIP-ReID", "MODEL.NAME", "MODEL: {NAME: RN50}\nSOLVER: {STAGE1: {IMS_PER_BATCH: 64}}"),
        (
            "SOLIDER",
            "TRANSFORMER_TYPE",
            "MODEL: {NAME: transformer, TRANSFORMER_TYPE: swin_tiny_patch4_window7_224}",
        ),
        (
            "fast-reid",
            "META_ARCHITECTURE",
            "_BASE_: ../B.yml\nMODEL: {META_ARCHITECTURE: Baseline}\nDATASETS: {NAMES: [M]}",
        ),
        (
            "torchreid",
            "data.sources",
            "model: {name: osnet_x1_0}\ndata: {type: image, sources: [market1501]}",
        ),
        ("ultralytics", "tracker_type", "tracker_type: botsort\ntrack_high_thresh: 0.25"),
        (
            "BoxMOT",
            "track_high_thresh",
            "track_high_thresh: {type: uniform, default: 0.6, range: [0.3, 0.7]}",
        ),
        ("layumi", "linear_num", "name: ft_ResNet50\nlinear_num: 512\nPCB: false"),
        ("TAO", "train_dataset_dir", "model: {backbone: resnet_50}\ndataset: {train_dataset_dir: /d}"),
        ("DeepStream", "TargetManagement", "BaseConfig: {}\nTargetManagement: {}"),
    ],
)
def test_a_file_of_another_project_is_named_as_one(write, project, key, text):
    path = write(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(path) in str(error.value) and project in str(error.value) and key in str(error.value)


def test_values_of_the_authors_files_are_taken_over(write):
    overrides = ["MODEL.ID_LOSS_WEIGHT=0.5", "MODEL.TRIPLET_LOSS_WEIGHT=2", "INPUT.RE_PROB=off"]
    train = load_config(write(AUTHORS), overrides).train
    assert (train.identity_weight, train.metric_weight, train.erasing) == (0.5, 2, 0)
    for name in ("dukemtmc", "dukemtmcreid", "DukeMTMC-reID", "['dukemtmc']"):
        config = load_config(write(AUTHORS), [f"DATASETS.NAMES={name}"])
        assert (config.data.layout, config.model.cameras) == ("dukemtmc", 8)


def test_the_small_vit_of_personvit_is_that_of_deit(write):
    theirs = AUTHORS.replace("vit_base", "vit_small")
    assert load_config(write(theirs)).model.variant == "vit_small"
    assert load_config(write(theirs), ["MODEL.PRETRAIN_HW_RATIO=2"]).model.variant == "deit_small"


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-99-99",
        "model: {size: " + "[" * 3000,
        "a: " + "9" * 5000,
        "? [1]\n: 2",
        "model: !!python/name:os.x",
        "\x00",
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(write, text):
    with pytest.raises(ConfigError) as error:
        load_config(write(text))
    assert "\n" not in str(error.value)


def test_a_key_with_control_characters_is_escaped(write):
    with pytest.raises(ConfigError) as error:
        load_config(write('train: {"\\e[31mlr": 1}'))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("data: {root: [&a [x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a], "
         "&c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b], "
         "[*c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c]]}", "alias"),
        ("data: {root: &a [*a]}", "alias"),
        ("data: {root: " + "[" * 20_000, "brackets"),
        ("train: {seed: 0x" + "f" * 5000 + "}", "64 bits"),
        ("train: {lr: 1" + "0" * 400 + "}", "64 bits"),
        ("train: {seed: !!timestamp x}", "YAML"),
        ("data:\n" + "  - x\n" * 40_000, "characters"),
    ],
)  # fmt: skip
def test_yaml_that_expands_to_too_much_is_refused(write, text, word):
    with pytest.raises(ConfigError, match=word) as caught:
        load_config(write(text))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "override", ["model.size=[100000,100000]", "model.size=[9000,9000]", "model.cameras=10000000000"]
)
def test_a_model_that_no_memory_holds_is_refused_by_its_numbers(write, override):
    with pytest.raises(ConfigError, match="more than|whole number"):
        load_config(write("model: {variant: vit_lite}\n"), [override]).architecture()
