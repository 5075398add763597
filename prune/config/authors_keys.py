"""The keys of TransReID's and AMG's (the authors') YAML files, their defaults, and the values that this project supports."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from runtime.errors import ConfigError
from runtime.wording import printable

Sections = dict[str, dict[str, Any]]

# The defaults of TransReID, and AMG's FINETUNE section. A value must have the type of its default.
DEFAULTS: Sections = {
    "MODEL": {
        "DEVICE": "cuda",
        "DEVICE_ID": "0",
        # TransReID's own default is resnet50, which is never meant by a file that names a transformer.
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
# The keys that TransReID-SSL, PersonViT and PASS add. One of them in MODEL shows that a file belongs to one of these projects.
SUCCESSOR_KEYS: Sections = {
    "MODEL": {
        "PRETRAIN_HW_RATIO": 1,
        "DROPOUT_RATE": 0.0,
        "REDUCE_FEAT_DIM": False,
        "FEAT_DIM": 512,
        "POOLING": "None",
        "GEM_POOLING": False,
        "STEM_CONV": False,
        "MULTI_NECK": True,
        "FEAT_FUSION": "cat",
    },
    "DATASETS": {"ROOT_TRAIN_DIR": "", "ROOT_VAL_DIR": ""},
    "DATALOADER": {"REMOVE_TAIL": 0},
    "SOLVER": {"TRP_L2": False},
}
# Keys at the top level of a file, outside all sections.
TOP_LEVEL_KEYS = ("OUTPUT_DIR", "DEBUG")
# (section, key, the supported values, what another value would mean)
SUPPORTED: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
    ("MODEL", "SHIFT_NUM", (5,), "all published models have the same value"),
    ("MODEL", "SHUFFLE_GROUP", (2,), "all published models have the same value"),
    ("MODEL", "DEVIDE_LENGTH", (4,), "all published models have the same value"),
    ("MODEL", "COS_LAYER", (False,), "an ArcFace classifier"),
    ("MODEL", "NECK", ("bnneck",), "a model without the batch-norm neck"),
    ("MODEL", "ID_LOSS_TYPE", ("softmax",), "another identity loss"),
    ("MODEL", "METRIC_LOSS_TYPE", ("triplet",), "another metric loss"),
    ("MODEL", "IF_WITH_CENTER", ("no", False), "a centre loss"),
    ("MODEL", "DROP_OUT", (0,), "dropout in the transformer"),
    ("MODEL", "ATT_DROP_RATE", (0,), "dropout in the attention"),
    ("MODEL", "DROPOUT_RATE", (0,), "dropout before the classifier"),
    ("MODEL", "REDUCE_FEAT_DIM", (False,), "an additional layer that reduces the features"),
    ("MODEL", "POOLING", ("None", None, False, "avg", "max", "avg_max", "gem"), "another pooling"),
    ("MODEL", "FEAT_FUSION", ("cat", "mean"), "another fusion of the part tokens"),
    ("DATALOADER", "SAMPLER", ("softmax_triplet",), "another batch sampler"),
    ("DATALOADER", "REMOVE_TAIL", (0,), "leaving out people with few images"),
    ("SOLVER", "LARGE_FC_LR", (False,), "a separate learning rate for the classifier"),
    ("SOLVER", "TRP_L2", (False,), "a triplet loss of normalised features"),
    # The authors' code normalises the features for every string, even for "no".
    ("TEST", "FEAT_NORM", ("yes", "no", "on", "off", True), "features that are not normalised"),
)
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def check_sections(data: Mapping[str, Any], where: str) -> Sections:
    """Return all sections of DEFAULTS, with the values of an authors' file (`data`) in place of the defaults.

    The result is {section: {key: value}}, and the values are converted to the types of the defaults. The keys in SUCCESSOR_KEYS,
    which only later projects based on TransReID use, are in the result only if the file has them. `where` names the file in
    messages. Raises ConfigError for an unknown section or key, and for a value of another type.
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


def refuse_unsupported(sections: Sections, where: str) -> None:
    """Raise ConfigError for the first value that needs a model or a training that this project does not have.

    `sections` is the result of `check_sections`, and `where` names the file in messages.
    """
    for name, key, values, meaning in SUPPORTED:
        value = sections[name].get(key, values[0])
        if value not in values:
            raise ConfigError(
                f"{where}: {name}.{key} {value!r} is not supported ({meaning}); the only supported value is {values[0]!r}"
            )


def refuse_unknown(section: str, key: str | None, where: str) -> None:
    """Raise ConfigError, which suggests the nearest known name, for an unknown section or for an unknown key of a known section.

    A `key` of None checks the section alone. `where` names the file or the override in messages.
    """
    if key is None:
        known = (*DEFAULTS, *TOP_LEVEL_KEYS)
        if section not in known:
            kind = "key" if section.lower() in (name.lower() for name in TOP_LEVEL_KEYS) else "section"
            raise ConfigError(f"{where}: unknown {kind} {printable(section)}{_nearest_hint(section, known)}")
        return
    keys = [*DEFAULTS[section], *SUCCESSOR_KEYS.get(section, {})]
    if key in keys:
        return
    other_sections = [
        name for name in DEFAULTS if key in DEFAULTS[name] or key in SUCCESSOR_KEYS.get(name, {})
    ]
    hint = f"; did you mean {other_sections[0]}.{key}?" if other_sections else _nearest_hint(key, keys)
    raise ConfigError(f"{where}: {section}: unknown key {printable(key)}{hint}")


def typed(section: str, key: str, value: Any, where: str) -> Any:
    """Return `value` converted to the type of the default of `section`.`key`: a boolean, a number, a list of numbers or a word.

    Raises ConfigError, whose message begins with `where`, when the value cannot be converted.
    """
    value = _literal(value)
    default = DEFAULTS[section].get(key, SUCCESSOR_KEYS.get(section, {}).get(key))
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
        # A probability that is switched off is 0.
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
    """Evaluate a string that holds a Python literal, as yacs does: "('market1501')" is a word, "[256, 128]" a list."""
    if isinstance(value, str) and len(value) < 1000:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return value
    return value


def _switch(value: Any, place: str) -> bool:
    """Return a switch as a boolean; the authors write booleans in some files and words in others."""
    switch = _WORDS.get(value.lower(), value) if isinstance(value, str) else value
    if switch not in (True, False):
        raise ConfigError(f"{place} must be True or False, not {value!r}")
    return bool(switch)


def _number(value: Any, place: str, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{place} must be a number, not {value!r}")
    if whole and value != (round(value) if abs(value) < 1e15 else None):
        raise ConfigError(f"{place} must be a whole number, not {value!r}")
    return int(value) if whole else float(value)


def _nearest_hint(name: str, known: tuple[str, ...] | list[str]) -> str:
    by_lower_case = {known_name.lower(): known_name for known_name in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, 1)
    return f"; did you mean {by_lower_case[nearest[0]]}?" if nearest else f"; known: {', '.join(known)}"
