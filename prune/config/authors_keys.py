"""The keys of the authors' YAML files with their own defaults, and which values this project builds. Translates nothing."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from runtime.errors import ConfigError
from runtime.wording import printable

Sections = dict[str, dict[str, Any]]

# TransReID's defaults, and FINETUNE of AMG. The type of a default is the type that a value must have.
DEFAULTS: Sections = {
    "MODEL": {
        "DEVICE": "cuda",
        "DEVICE_ID": "0",
        # theirs is resnet50, which no file that names a transformer means
        "NAME": "transformer",
        "LAST_STRIDE": 1,
        "PRETRAIN_PATH": "",
        "PRETRAIN_CHOICE": "imagenet",
        "NECK": "bnneck",
        "IF_WITH_CENTER": "no",
        "ID_LOSS_TYPE": "softmax",
        "ID_LOSS_WEIGHT": 1.0,
        "TRIPLET_LOSS_WEIGHT": 1.0,
        "METRIC_LOSS_TYPE": "triplet",
        "DIST_TRAIN": False,
        "NO_MARGIN": False,
        "IF_LABELSMOOTH": True,
        "COS_LAYER": False,
        "DROP_PATH": 0.1,
        "DROP_OUT": 0.0,
        "ATT_DROP_RATE": 0.0,
        "TRANSFORMER_TYPE": "None",
        "STRIDE_SIZE": [16, 16],
        "JPM": False,
        "SHIFT_NUM": 5,
        "SHUFFLE_GROUP": 2,
        "DEVIDE_LENGTH": 4,
        "RE_ARRANGE": True,
        "SIE_COE": 3.0,
        "SIE_CAMERA": False,
        "SIE_VIEW": False,
    },
    "INPUT": {
        "SIZE_TRAIN": [384, 128],
        "SIZE_TEST": [384, 128],
        "PROB": 0.5,
        "RE_PROB": 0.5,
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "PADDING": 10,
    },
    "DATASETS": {"NAMES": "market1501", "ROOT_DIR": "../data"},
    "DATALOADER": {"NUM_WORKERS": 8, "SAMPLER": "softmax_triplet", "NUM_INSTANCE": 16},
    "SOLVER": {
        "OPTIMIZER_NAME": "Adam",
        "MAX_EPOCHS": 100,
        "BASE_LR": 3e-4,
        "LARGE_FC_LR": False,
        "BIAS_LR_FACTOR": 1.0,
        "SEED": 1234,
        "MOMENTUM": 0.9,
        "MARGIN": 0.3,
        "CENTER_LR": 0.5,
        "CENTER_LOSS_WEIGHT": 0.0005,
        "WEIGHT_DECAY": 0.0005,
        "WEIGHT_DECAY_BIAS": 0.0005,
        "GAMMA": 0.1,
        "STEPS": [40, 70],
        "WARMUP_FACTOR": 0.01,
        "WARMUP_EPOCHS": 5,
        "WARMUP_METHOD": "linear",
        "COSINE_MARGIN": 0.5,
        "COSINE_SCALE": 30.0,
        "CHECKPOINT_PERIOD": 10,
        "LOG_PERIOD": 100,
        "EVAL_PERIOD": 10,
        "IMS_PER_BATCH": 64,
    },
    "FINETUNE": {
        "PRUNE_MODE": "token",
        "PRUNE_RATE": 0.4,
        "ITER_NUM": 1,
        "FINE_NUM": 0,
        "FINAL_NUM": 10,
        "DISTILL_TYPE": "soft",
        "DISTILL_ALPHA": 0.2,
        "DISTILL_TAU": 1.0,
        "PRETRAIN_PATH": "",
    },
    "TEST": {
        "IMS_PER_BATCH": 128,
        "RE_RANKING": False,
        "WEIGHT": "",
        "NECK_FEAT": "after",
        "FEAT_NORM": "yes",
        "DIST_MAT": "dist_mat.npy",
        "EVAL": False,
    },
}
# What TransReID-SSL, PersonViT and PASS add to them. One of these in MODEL tells their files from TransReID's.
ADDED: Sections = {
    "MODEL": {
        "PRETRAIN_HW_RATIO": 1,
        "DROPOUT_RATE": 0.0,
        "REDUCE_FEAT_DIM": False,
        "FEAT_DIM": 512,
        "POOLING": "None",
        "GEM_POOLING": False,
        "STEM_CONV": False,
    },
    "DATASETS": {"ROOT_TRAIN_DIR": "", "ROOT_VAL_DIR": ""},
    "DATALOADER": {"REMOVE_TAIL": 0},
    "SOLVER": {"TRP_L2": False},
}
# At the top of a file, outside all sections.
LOOSE = ("OUTPUT_DIR", "DEBUG")
# (section, key, the values that are built here, what another value would mean)
BUILT: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
    ("MODEL", "SHIFT_NUM", (5,), "no published model has another"),
    ("MODEL", "SHUFFLE_GROUP", (2,), "no published model has another"),
    ("MODEL", "DEVIDE_LENGTH", (4,), "no published model has another"),
    ("MODEL", "COS_LAYER", (False,), "an ArcFace classifier"),
    ("MODEL", "NECK", ("bnneck",), "a model without its batch-norm neck"),
    ("MODEL", "ID_LOSS_TYPE", ("softmax",), "another identity loss"),
    ("MODEL", "METRIC_LOSS_TYPE", ("triplet",), "another metric loss"),
    ("MODEL", "IF_WITH_CENTER", ("no", False), "a centre loss"),
    ("MODEL", "DROP_OUT", (0,), "dropout in the transformer"),
    ("MODEL", "ATT_DROP_RATE", (0,), "dropout in the attention"),
    ("MODEL", "DROPOUT_RATE", (0,), "dropout before the classifier"),
    ("MODEL", "REDUCE_FEAT_DIM", (False,), "features reduced by a further layer"),
    ("MODEL", "POOLING", ("None", None, False), "pooled patch tokens in place of the class token"),
    ("MODEL", "GEM_POOLING", (False,), "pooled patch tokens in place of the class token"),
    ("MODEL", "STEM_CONV", (False,), "a convolutional stem in place of the patch projection"),
    ("DATALOADER", "SAMPLER", ("softmax_triplet",), "another sampler of batches"),
    ("DATALOADER", "REMOVE_TAIL", (0,), "people with few images left out"),
    ("SOLVER", "LARGE_FC_LR", (False,), "a learning rate of its own for the classifier"),
    ("SOLVER", "TRP_L2", (False,), "a triplet loss of normalised features"),
    # their code normalises for every word, "no" as well
    ("TEST", "FEAT_NORM", ("yes", "no", "on", "off", True), "features that are not normalised"),
)
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def checked(data: Mapping[str, Any], where: str) -> Sections:
    """Every section with the file's values over their defaults; ConfigError for unknown keys and what is not built.

    Values have the types of DEFAULTS. Keys of ADDED are there only where the file has them.
    """
    for name, content in data.items():
        refuse_unknown(str(name), None, where)
        if str(name) in DEFAULTS:
            for key in _section(content, str(name), where):
                refuse_unknown(str(name), str(key), where)
    sections = {
        name: {
            **defaults,
            **{
                str(key): typed(name, str(key), value, where)
                for key, value in _section(data.get(name), name, where).items()
            },
        }
        for name, defaults in DEFAULTS.items()
    }
    return sections


def refuse_unbuilt(sections: Sections, where: str) -> None:
    """ConfigError for the first switch whose value would need a model or a training that is not here."""
    for name, key, values, meaning in BUILT:
        value = sections[name].get(key, values[0])
        if value not in values:
            raise ConfigError(
                f"{where}: {name}.{key} {value!r} is not supported, only {values[0]!r} is ({meaning})"
            )


def refuse_unknown(section: str, key: str | None, where: str) -> None:
    """ConfigError for a section, or a key of a known one, that the authors' files do not have, with the nearest that they have."""
    if key is None:
        known = (*DEFAULTS, *LOOSE)
        if section not in known:
            kind = "key" if section.lower() in (name.lower() for name in LOOSE) else "section"
            raise ConfigError(f"{where}: unknown {kind} {printable(section)}{_nearest(section, known)}")
        return
    keys = [*DEFAULTS[section], *ADDED.get(section, {})]
    if key in keys:
        return
    elsewhere = [name for name in DEFAULTS if key in DEFAULTS[name] or key in ADDED.get(name, {})]
    hint = f"; did you mean {elsewhere[0]}.{key}?" if elsewhere else _nearest(key, keys)
    raise ConfigError(f"{where}: {section}: unknown key {printable(key)}{hint}")


def typed(section: str, key: str, value: Any, where: str) -> Any:
    """The value as its key's default is: a switch, a number, a list of numbers or a word; ConfigError where it cannot be."""
    value = _literal(value)
    default = DEFAULTS[section].get(key, ADDED.get(section, {}).get(key))
    place = f"{where}: {section}.{key}"
    if isinstance(default, bool):
        return _switch(value, place)
    if isinstance(default, list):
        if key == "STRIDE_SIZE" and isinstance(value, int):
            return [value, value]
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise ConfigError(f"{place} must be a list of {len(default)} numbers, not {value!r}")
        return [_number(part, place, whole=isinstance(default[0], int)) for part in value]
    if isinstance(default, int | float):
        # a probability that is off is 0
        value = 0 if value is False or value == "off" else value
        return _number(value, place, whole=isinstance(default, int))
    return value


def _section(content: Any, name: str, where: str) -> dict[Any, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: {name} must be a section, not {content!r}")
    return content


def _literal(value: Any) -> Any:
    """Their strings are often Python: "('market1501')" is a word, "[256, 128]" a list."""
    if isinstance(value, str) and len(value) < 1000:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return value
    return value


def _switch(value: Any, place: str) -> bool:
    """Their switches are booleans in some files and words in others."""
    found = _WORDS.get(value.lower(), value) if isinstance(value, str) else value
    if found not in (True, False):
        raise ConfigError(f"{place} must be True or False, not {value!r}")
    return bool(found)


def _number(value: Any, place: str, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{place} must be a number, not {value!r}")
    if whole and value != (round(value) if abs(value) < 1e15 else None):
        raise ConfigError(f"{place} must be a whole number, not {value!r}")
    return int(value) if whole else float(value)


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), folded, 1)
    return f"; did you mean {folded[near[0]]}?" if near else f"; known: {', '.join(known)}"
