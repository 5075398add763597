"""Translate configurations of the authors of TransReID and AMG (yacs style) into this project's keys. Reads no files."""

from __future__ import annotations

from typing import Any

from prune.config.authors_keys import SUCCESSOR_KEYS, check_sections, refuse_unsupported
from prune.config.clip_reid import adapted, flattened, is_clip_reid
from prune.model.variants import VARIANTS
from runtime.errors import ConfigError

# The authors' name without punctuation -> (layout, folder below their ROOT_DIR, cameras, training identities).
DATASETS = {
    "market1501": ("market1501", "market1501", 6, 751),
    "dukemtmc": ("dukemtmc", "dukemtmcreid", 8, 702),
    "occduke": ("occluded_duke", "Occluded_Duke", 8, 702),
    "msmt17": ("msmt17", "MSMT17", 15, 1041),
}
OTHER_NAMES = {
    "market": "market1501",
    "duke": "dukemtmc",
    "dukemtmcreid": "dukemtmc",
    "occludedduke": "occduke",
    "occdukemtmc": "occduke",
    "occdukemtmcreid": "occduke",
    "occludeddukemtmc": "occduke",
    "occludeddukemtmcreid": "occduke",
}


# TransReID-SSL and PersonViT use these names for other networks than TransReID does, or for networks that it lacks.
SUCCESSOR_VARIANTS = {"vit_small": "deit_small", "vit_tiny": "deit_tiny"}


def translate(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of an authors' file as a nested dict of this project's keys, such as {model: {stride: 12}, ...}.

    `data` is the content of the file, such as {MODEL: {STRIDE_SIZE: [12, 12]}, ...}. `where` names the file in messages. Raises
    ConfigError for unknown keys, and for values that need a model or a training that this project does not have.
    """
    clip = is_clip_reid(data)
    if clip:
        data = flattened(data, where)
    sections = check_sections(data, where)
    model, image, test = sections["MODEL"], sections["INPUT"], sections["TEST"]
    variant = _variant(model, where)
    refuse_unsupported(sections, where)
    if model["SIE_VIEW"] and not clip:
        raise ConfigError(
            f"{where}: MODEL.SIE_VIEW is meant for vehicles and is not supported; set it to False for people"
        )
    strides = set(model["STRIDE_SIZE"])
    if len(strides) != 1:
        raise ConfigError(
            f"{where}: MODEL.STRIDE_SIZE {model['STRIDE_SIZE']} must be two equal numbers, such as [12, 12]"
        )
    successor = _from_successor(model)
    layout, folder, cameras, identities = _dataset(sections["DATASETS"]["NAMES"], where)
    settings = {
        "model": {
            "variant": variant,
            "size": _size(data.get("INPUT") or {}, image, where),
            "stride": strides.pop(),
            "jpm": model["JPM"],
            "rearrange": model["RE_ARRANGE"],
            "cameras": cameras if model["SIE_CAMERA"] else 0,
            "sie_coefficient": model["SIE_COE"],
            "identities": identities,
            "neck": test["NECK_FEAT"],
            "drop_path": model["DROP_PATH"],
            # the authors' model with the JPM ignores both keys
            "family": "vit" if model["JPM"] else _family(model, where),
            "pooling": "class" if model["JPM"] else _pooling(model),
        },
        "input": {
            "mean": image["PIXEL_MEAN"],
            "std": image["PIXEL_STD"],
            "interpolation": "bilinear" if successor or clip else "bicubic",
        },
        "data": {"layout": layout, "root": f"{sections['DATASETS']['ROOT_DIR']}/{folder}"},
        "prune": _prune(sections, where) if "FINETUNE" in data else {},
        "train": _train(sections, where) | (_finetune(sections["FINETUNE"]) if "FINETUNE" in data else {}),
    }
    return adapted(settings, sections) if clip else settings


def _variant(model: dict[str, Any], where: str) -> str:
    """Return our name of the backbone; raise ConfigError that names the key when the backbone is not supported."""
    if model["NAME"] != "transformer":
        raise ConfigError(
            f"{where}: MODEL.NAME {model['NAME']!r} is not supported; the only supported backbone is 'transformer'"
        )
    transformer_type = str(model["TRANSFORMER_TYPE"])
    variant = transformer_type.split("_patch16")[0]
    if _from_successor(model):
        variant = SUCCESSOR_VARIANTS.get(variant, variant)
    if variant not in VARIANTS:
        names = ", ".join(f"{name}_patch16_224_TransReID" for name in VARIANTS)
        raise ConfigError(
            f"{where}: MODEL.TRANSFORMER_TYPE {transformer_type!r} is not supported; the supported types are: {names}"
        )
    return variant


def _from_successor(model: dict[str, Any]) -> bool:
    """Whether a file is one of TransReID-SSL, PersonViT or PASS, which build on TransReID."""
    return any(key in SUCCESSOR_KEYS["MODEL"] for key in model)


def _family(model: dict[str, Any], where: str) -> str:
    """Return our family of a model without the JPM.

    PASS's keys show PASS. Its published files lack them and equal those of TransReID-SSL; then the tensors of the checkpoint decide.
    """
    shows_pass = "MULTI_NECK" in model or "FEAT_FUSION" in model
    if shows_pass and model.get("STEM_CONV"):
        raise ConfigError(
            f"{where}: MODEL.STEM_CONV is not supported together with PASS's part tokens; set it to False"
        )
    if shows_pass:
        fusion, one_neck = model.get("FEAT_FUSION", "cat"), not model.get("MULTI_NECK", True)
        return "pass" + "_mean" * (fusion == "mean") + "_one_neck" * one_neck
    return "ics" if model.get("STEM_CONV") else "vit"


def _pooling(model: dict[str, Any]) -> str:
    """Return our word for PersonViT's POOLING and TransReID-SSL's GEM_POOLING."""
    pooling = model.get("POOLING")
    return (
        "gem" if model.get("GEM_POOLING") else "class" if pooling in (None, "None", False) else str(pooling)
    )


def _size(written: dict[str, Any], image: dict[str, Any], where: str) -> list[int]:
    """Return the input size, which training and test share; a file that sets only SIZE_TEST means both."""
    if "SIZE_TRAIN" in written and image["SIZE_TRAIN"] != image["SIZE_TEST"]:
        raise ConfigError(
            f"{where}: INPUT.SIZE_TEST {image['SIZE_TEST']} differs from INPUT.SIZE_TRAIN {image['SIZE_TRAIN']}; a model "
            "runs at the size it was trained for: set both to the same size"
        )
    return list(image["SIZE_TEST"])


def _dataset(name: Any, where: str) -> tuple[str, str, int, int]:
    names = list(name) if isinstance(name, list | tuple) else [name]
    if len(names) != 1:
        raise ConfigError(
            f"{where}: DATASETS.NAMES {name!r} names {len(names)} data sets, but only one is supported: set it to "
            f"one of {', '.join(DATASETS)}"
        )
    key = "".join(character for character in str(names[0]).lower() if character.isalnum())
    key = OTHER_NAMES.get(key, key)
    if key == "mm":
        raise ConfigError(
            f"{where}: DATASETS.NAMES {names[0]!r} means Market-1501 and MSMT17 together, but only one data set is supported: "
            f"set it to one of {', '.join(DATASETS)}"
        )
    if key not in DATASETS:
        raise ConfigError(f"{where}: DATASETS.NAMES {name!r} is not one of {', '.join(DATASETS)}")
    return DATASETS[key]


def _prune(sections: dict[str, dict[str, Any]], where: str) -> dict[str, Any]:
    kinds = {"attn": "tokens", "head_entropy": "heads"}
    finetune = sections["FINETUNE"]
    mode = finetune["PRUNE_MODE"]
    if not isinstance(mode, str) or mode not in kinds:
        raise ConfigError(f"{where}: FINETUNE.PRUNE_MODE {mode!r} is not one of attn, head_entropy")
    section = {"fraction": finetune["PRUNE_RATE"]}
    if mode == "head_entropy":
        section["rounds"] = finetune["ITER_NUM"]
    return {kinds[mode]: section, **_batch(sections, where), "seed": sections["SOLVER"]["SEED"]}


def _batch(sections: dict[str, dict[str, Any]], where: str) -> dict[str, int]:
    size, images = sections["SOLVER"]["IMS_PER_BATCH"], sections["DATALOADER"]["NUM_INSTANCE"]
    if not (isinstance(size, int) and isinstance(images, int) and images > 0 and size % images == 0):
        raise ConfigError(
            f"{where}: SOLVER.IMS_PER_BATCH {size!r} is not a multiple of DATALOADER.NUM_INSTANCE {images!r}; set it to a multiple"
        )
    return {"identities": size // images, "images": images}


def _train(sections: dict[str, dict[str, Any]], where: str) -> dict[str, Any]:
    model, image, solver = sections["MODEL"], sections["INPUT"], sections["SOLVER"]
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
        # The authors' smoothed cross-entropy has this constant built in.
        "label_smoothing": 0.1 if model["IF_LABELSMOOTH"] else 0.0,
        "identity_weight": model["ID_LOSS_WEIGHT"],
        "metric_weight": model["TRIPLET_LOSS_WEIGHT"],
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
