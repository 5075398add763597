"""Translate a configuration of CLIP-ReID into one of TransReID, which prune.config.authors then translates into our keys.

CLIP-ReID trains in two stages. The first learns the texts, which no image feature needs; the second trains the image encoder. Only
the second stage is translated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune.config.authors_keys import Sections
from runtime.errors import ConfigError
from runtime.wording import printable

STAGES = ("STAGE1", "STAGE2")
# Keys of a stage that TransReID does not have -> the key that it has instead (None: no training here reads it).
STAGE_KEYS = {"WARMUP_ITERS": "WARMUP_EPOCHS", "WARMUP_LR_INIT": None, "LR_MIN": None}
BACKBONE = "ViT-B-16"
# The authors add the losses of two classifiers, and the triplet losses of the same two features and of an inner one. Ours are means.
LOSSES = 2


def is_clip_reid(data: Mapping[Any, Any]) -> bool:
    """Whether `data`, the content of a configuration file, has keys that only CLIP-ReID's files have, or its backbone's name."""
    by_name = _backbone(data).startswith(("ViT-", "RN50", "RN101"))
    stages = _section(data, "SOLVER").keys() & {*STAGES}
    return by_name or "I2T_LOSS_WEIGHT" in _section(data, "MODEL") or bool(stages)


def is_own_key(keys: Sequence[str]) -> bool:
    """Whether `keys`, such as ["SOLVER", "STAGE2", "BASE_LR"], leads to a value that only CLIP-ReID's files have."""
    in_stage = len(keys) == 3 and keys[0] == "SOLVER" and keys[1] in STAGES
    return in_stage or list(keys) == ["MODEL", "I2T_LOSS_WEIGHT"]


def flattened(data: Mapping[Any, Any], where: str) -> dict[Any, Any]:
    """Return the content `data` of a CLIP-ReID file with TransReID's sections and keys; the file is named `where` in messages.

    Raises ConfigError for a backbone other than ViT-B/16, and for a stage that is not a section.
    """
    model, solver = dict(_section(data, "MODEL")), dict(_section(data, "SOLVER"))
    name = _backbone(data)
    if name != BACKBONE:
        raise ConfigError(
            f"{where}: MODEL.NAME {printable(name)} of CLIP-ReID is not supported, only {BACKBONE}; export another backbone to "
            "ONNX in its own project, and adopt the file: python -m export adopt MODEL.onnx --out ADOPTED.onnx"
        )
    for stage in STAGES:
        if not isinstance(solver.get(stage) or {}, Mapping):
            raise ConfigError(f"{where}: SOLVER.{stage} must be a section, not {solver[stage]!r}")
    model.pop("I2T_LOSS_WEIGHT", None)
    model |= {"NAME": "transformer", "TRANSFORMER_TYPE": "clip_base", "JPM": False}
    solver.pop("STAGE1", None)
    for key, value in dict(solver.pop("STAGE2", None) or {}).items():
        ours = STAGE_KEYS.get(key, key)
        if ours is not None:
            solver.setdefault(ours, value)
    return {**data, "MODEL": model, "SOLVER": solver}


def adapted(settings: dict[str, Any], sections: Sections) -> dict[str, Any]:
    """Return the `settings` that prune.config.authors made of a `flattened` file, with what differs in CLIP-ReID.

    `sections` are those of the flattened file with defaults. CLIP-ReID's data sets of people have one view each, so SIE_VIEW alone
    makes a camera table of one row, and together with SIE_CAMERA it changes nothing.
    """
    train = settings["train"] | {"warmup_factor": sections["SOLVER"]["WARMUP_FACTOR"]}
    train |= {key: LOSSES * train[key] for key in ("identity_weight", "metric_weight")}
    model = settings["model"] | {"family": "clip"}
    if sections["MODEL"]["SIE_VIEW"] and not sections["MODEL"]["SIE_CAMERA"]:
        model["cameras"] = 1
    return settings | {"model": model, "train": train}


def _backbone(data: Mapping[Any, Any]) -> str:
    return str(_section(data, "MODEL").get("NAME", "")).strip("()'\" ")


def _section(data: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    content = data.get(name)
    return content if isinstance(content, Mapping) else {}
