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
        "IF_LABELSMOOTH": "on",
        "NO_MARGIN": False,
    },
    "INPUT": {
        "SIZE_TEST": [384, 128],
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "PROB": 0.5,
        "RE_PROB": 0.5,
        "PADDING": 10,
    },
    "DATASETS": {"NAMES": "market1501", "ROOT_DIR": "../data"},
    "DATALOADER": {"NUM_INSTANCE": 16},
    "SOLVER": {
        "OPTIMIZER_NAME": "Adam",
        "MAX_EPOCHS": 100,
        "BASE_LR": 3e-4,
        "IMS_PER_BATCH": 64,
        "MOMENTUM": 0.9,
        "MARGIN": 0.3,
        "WEIGHT_DECAY": 5e-4,
        "WEIGHT_DECAY_BIAS": 5e-4,
        "BIAS_LR_FACTOR": 1,
        "WARMUP_EPOCHS": 5,
        "SEED": 1234,
    },
    "FINETUNE": {
        "PRUNE_MODE": "token",
        "PRUNE_RATE": 0.0,
        "ITER_NUM": 1,
        "FINE_NUM": 0,
        "FINAL_NUM": 10,
        "DISTILL_TYPE": "none",
        "DISTILL_ALPHA": 0.2,
        "DISTILL_TAU": 1.0,
    },
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
# (section, key, the values that we build): no published person model asks for another.
BUILT = (
    ("MODEL", "COS_LAYER", (False,)),
    ("MODEL", "ID_LOSS_TYPE", ("softmax",)),
    ("MODEL", "METRIC_LOSS_TYPE", ("triplet",)),
    ("MODEL", "IF_WITH_CENTER", ("no", False)),
    ("DATALOADER", "SAMPLER", ("softmax_triplet",)),
    ("SOLVER", "LARGE_FC_LR", (False,)),
)


def translate(data: dict[str, Any], where: str) -> dict[str, Any]:
    """{MODEL: .., INPUT: .., ...} -> our nested dict; ConfigError for what we do not build (views, ...)."""
    sections = {name: {**keys, **_section(data, name, where)} for name, keys in DEFAULTS.items()}
    model, image, test = sections["MODEL"], sections["INPUT"], sections["TEST"]
    for key, value in FIXED.items():
        if model[key] != value:
            raise ConfigError(
                f"{where}: MODEL.{key} {model[key]} is not supported; the published models use {value}"
            )
    for name, key, built in BUILT:
        if (value := sections.get(name, {}).get(key, built[0])) not in built:
            raise ConfigError(f"{where}: {name}.{key} {value!r} is not supported, only {built[0]!r} is")
    if _flag(model["SIE_VIEW"]):
        raise ConfigError(
            f"{where}: MODEL.SIE_VIEW is for vehicles and not supported; set it to False for people"
        )
    stride = set(
        model["STRIDE_SIZE"] if isinstance(model["STRIDE_SIZE"], list | tuple) else [model["STRIDE_SIZE"]]
    )
    if len(stride) != 1:
        raise ConfigError(f"{where}: MODEL.STRIDE_SIZE {model['STRIDE_SIZE']} must be the same both ways")
    layout, folder, cameras, identities = _dataset(sections["DATASETS"]["NAMES"], where)
    return {
        "model": {
            "variant": str(model["TRANSFORMER_TYPE"]).split("_patch16")[0],
            "size": list(image["SIZE_TEST"]),
            "stride": stride.pop(),
            "jpm": _flag(model["JPM"]),
            "rearrange": _flag(model["RE_ARRANGE"]),
            "cameras": cameras if _flag(model["SIE_CAMERA"]) else 0,
            "sie_coefficient": model["SIE_COE"],
            "identities": identities,
            "neck": test["NECK_FEAT"],
            "drop_path": model["DROP_PATH"],
        },
        "input": {
            "mean": list(image["PIXEL_MEAN"]),
            "std": list(image["PIXEL_STD"]),
            "interpolation": "bicubic",
        },
        "data": {"layout": layout, "root": f"{sections['DATASETS']['ROOT_DIR']}/{folder}"},
        "prune": _prune(sections, where) if "FINETUNE" in data else {},
        "train": _train(sections, where) | (_finetune(sections["FINETUNE"]) if "FINETUNE" in data else {}),
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


def _flag(value: Any) -> bool:
    """Their switches are booleans in some files and words in others."""
    return value.lower() in ("on", "yes", "true") if isinstance(value, str) else bool(value)


def _dataset(name: Any, where: str) -> tuple[str, str, int, int]:
    key = str(name[0] if isinstance(name, list | tuple) else name).lower()
    key = {"occ_dukemtmc": "occ_duke", "occluded_duke": "occ_duke", "dukemtmcreid": "dukemtmc"}.get(key, key)
    if key not in DATASETS:
        raise ConfigError(f"{where}: DATASETS.NAMES {name!r} is not one of {', '.join(DATASETS)}")
    return DATASETS[key]


def _prune(sections: dict[str, dict[str, Any]], where: str) -> dict[str, Any]:
    kinds = {"attn": "tokens", "head_entropy": "heads"}
    finetune = sections["FINETUNE"]
    mode = finetune["PRUNE_MODE"]
    if mode not in kinds:
        raise ConfigError(f"{where}: FINETUNE.PRUNE_MODE {mode!r} is not one of attn, head_entropy")
    section = {"fraction": finetune["PRUNE_RATE"]}
    if mode == "head_entropy":
        section["rounds"] = finetune["ITER_NUM"]
    return {kinds[mode]: section, **_batch(sections, where), "seed": sections["SOLVER"]["SEED"]}


def _batch(sections: dict[str, dict[str, Any]], where: str) -> dict[str, int]:
    size, images = sections["SOLVER"]["IMS_PER_BATCH"], sections["DATALOADER"]["NUM_INSTANCE"]
    if not (isinstance(size, int) and isinstance(images, int) and images > 0 and size % images == 0):
        raise ConfigError(
            f"{where}: SOLVER.IMS_PER_BATCH {size!r} is not a multiple of DATALOADER.NUM_INSTANCE {images!r}"
        )
    return {"identities": size // images, "images": images}


def _train(sections: dict[str, dict[str, Any]], where: str) -> dict[str, Any]:
    model, image, solver = sections["MODEL"], sections["INPUT"], sections["SOLVER"]
    smoothing = model["IF_LABELSMOOTH"] in ("on", True)
    return {
        "optimizer": str(solver["OPTIMIZER_NAME"]).lower(),
        "lr": solver["BASE_LR"],
        "momentum": solver["MOMENTUM"],
        "weight_decay": solver["WEIGHT_DECAY"],
        "weight_decay_bias": solver["WEIGHT_DECAY_BIAS"],
        "bias_lr_factor": solver["BIAS_LR_FACTOR"],
        "epochs": solver["MAX_EPOCHS"],
        "warmup_epochs": solver["WARMUP_EPOCHS"],
        **_batch(sections, where),
        "flip": image["PROB"],
        "pad": image["PADDING"],
        "erasing": image["RE_PROB"],
        # Their smoothed cross-entropy has this constant built in.
        "label_smoothing": 0.1 if smoothing else 0.0,
        "margin": None if model["NO_MARGIN"] else solver["MARGIN"],
        "seed": solver["SEED"],
    }


def _finetune(finetune: dict[str, Any]) -> dict[str, Any]:
    return {
        "fine_epochs": finetune["FINE_NUM"],
        "final_epochs": finetune["FINAL_NUM"],
        "distill": {
            "type": finetune["DISTILL_TYPE"],
            "alpha": finetune["DISTILL_ALPHA"],
            "temperature": finetune["DISTILL_TAU"],
        },
    }
