"""The authors' YAML (TransReID and AMG, yacs style) in our keys. Knows their defaults; reads no files."""

from __future__ import annotations

import ast
from typing import Any

from runtime.errors import ConfigError

# Their defaults where they differ from what a person config usually sets: these bite when a key is missing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "MODEL": {
        "TRANSFORMER_TYPE": "None",
        "STRIDE_SIZE": [16, 16],
        "SIE_CAMERA": False,
        "SIE_VIEW": False,
        "SIE_COE": 3.0,
        "JPM": False,
        "RE_ARRANGE": True,
        "SHIFT_NUM": 5,
        "SHUFFLE_GROUP": 2,
        "DEVIDE_LENGTH": 4,
        "DROP_PATH": 0.1,
    },
    "INPUT": {"SIZE_TEST": [384, 128], "PIXEL_MEAN": [0.485, 0.456, 0.406], "PIXEL_STD": [0.229, 0.224, 0.225]},
    "DATASETS": {"NAMES": "market1501", "ROOT_DIR": "../data"},
    "FINETUNE": {"PRUNE_MODE": "token", "PRUNE_RATE": 0.0, "ITER_NUM": 1},
    "TEST": {"NECK_FEAT": "after"},
}
# name there -> (layout, folder under their ROOT_DIR, cameras, training identities)
DATASETS = {
    "market1501": ("market1501", "market1501", 6, 751),
    "dukemtmc": ("dukemtmc", "dukemtmcreid", 8, 702),
    "occ_duke": ("occluded_duke", "Occluded_Duke", 8, 702),
    "msmt17": ("msmt17", "MSMT17", 15, 1041),
}
FIXED = {"SHIFT_NUM": 5, "SHUFFLE_GROUP": 2, "DEVIDE_LENGTH": 4}


def translate(data: dict[str, Any], where: str) -> dict[str, Any]:
    """{MODEL: .., INPUT: .., ...} -> our nested dict; ConfigError for what we do not build (views, other group counts)."""
    sections = {name: {**keys, **_section(data, name, where)} for name, keys in DEFAULTS.items()}
    model, image, test = sections["MODEL"], sections["INPUT"], sections["TEST"]
    for key, value in FIXED.items():
        if model[key] != value:
            raise ConfigError(f"{where}: MODEL.{key} {model[key]} is not supported; every published person model uses {value}")
    if model["SIE_VIEW"]:
        raise ConfigError(f"{where}: MODEL.SIE_VIEW is for vehicles and not supported; set it to False for people")
    stride = set(model["STRIDE_SIZE"] if isinstance(model["STRIDE_SIZE"], list | tuple) else [model["STRIDE_SIZE"]])
    if len(stride) != 1:
        raise ConfigError(f"{where}: MODEL.STRIDE_SIZE {model['STRIDE_SIZE']} must be the same both ways")
    layout, folder, cameras, identities = _dataset(sections["DATASETS"]["NAMES"], where)
    return {
        "model": {
            "variant": str(model["TRANSFORMER_TYPE"]).split("_patch16")[0],
            "size": list(image["SIZE_TEST"]),
            "stride": stride.pop(),
            "jpm": bool(model["JPM"]),
            "rearrange": bool(model["RE_ARRANGE"]),
            "cameras": cameras if model["SIE_CAMERA"] else 0,
            "sie_coefficient": model["SIE_COE"],
            "identities": identities,
            "neck": test["NECK_FEAT"],
            "drop_path": model["DROP_PATH"],
        },
        "input": {"mean": list(image["PIXEL_MEAN"]), "std": list(image["PIXEL_STD"]), "interpolation": "bicubic"},
        "data": {"layout": layout, "root": f"{sections['DATASETS']['ROOT_DIR']}/{folder}"},
        "prune": _prune(sections["FINETUNE"], where) if "FINETUNE" in data else {},
    }


def _section(data: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    section = data.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{where}: {name} must be a section, not {section!r}")
    return {key: _literal(value) for key, value in section.items()}


def _literal(value: Any) -> Any:
    """Their strings are often Python: "('market1501')" is a word, "[256, 128]" a list."""
    if isinstance(value, str):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


def _dataset(name: Any, where: str) -> tuple[str, str, int, int]:
    key = str(name[0] if isinstance(name, list | tuple) else name).lower()
    key = {"occ_dukemtmc": "occ_duke", "occluded_duke": "occ_duke", "dukemtmcreid": "dukemtmc"}.get(key, key)
    if key not in DATASETS:
        raise ConfigError(f"{where}: DATASETS.NAMES {name!r} is not one of {', '.join(DATASETS)}")
    return DATASETS[key]


def _prune(finetune: dict[str, Any], where: str) -> dict[str, Any]:
    kinds = {"attn": "tokens", "head_entropy": "heads"}
    mode = finetune["PRUNE_MODE"]
    if mode not in kinds:
        raise ConfigError(f"{where}: FINETUNE.PRUNE_MODE {mode!r} is not one of attn, head_entropy")
    section = {"fraction": finetune["PRUNE_RATE"]}
    if mode == "head_entropy":
        section["rounds"] = finetune["ITER_NUM"]
    return {kinds[mode]: section}
