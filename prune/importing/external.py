"""Recognise configuration files of other projects by keys that only these have, and refuse them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.errors import ConfigError
from runtime.wording import printable

# project -> keys of its files (a dot for a section) that occur neither in our files nor in the authors'
SIGNS: dict[str, tuple[str, ...]] = {
    "fast-reid": (
        "MODEL.META_ARCHITECTURE",
        "MODEL.BACKBONE",
        "MODEL.HEADS",
        "MODEL.LOSSES",
        "SOLVER.OPT",
        "INPUT.REA",
        "INPUT.DO_AUTOAUG",
        "_BASE_",
    ),
    "SOLIDER": ("MODEL.SEMANTIC_WEIGHT",),
    "AGW (ReID-Survey)": ("MODEL.WEIGHT_REGULARIZED_TRIPLET", "MODEL.CENTER_FEAT_DIM", "TEST.PARTIAL_REID"),
    "reid-strong-baseline": ("SOLVER.CLUSTER_MARGIN", "SOLVER.RANGE_K", "SOLVER.RANGE_MARGIN"),
    "CDTrans": ("MODEL.TASK_TYPE", "DATASETS.NAMES2", "DATASETS.ROOT_DIR2"),
    "BPBreID or KPR": ("model.bpbreid", "model.kpr", "model.promptable_trans"),
    "torchreid (deep-person-reid)": (
        "data.sources",
        "data.targets",
        "data.combineall",
        "data.transforms",
        "train.optim",
        "train.max_epoch",
        "model.load_weights",
        "sampler.train_sampler",
        "use_gpu",
    ),
    "NVIDIA TAO": ("dataset.train_dataset_dir", "model.pretrain_choice", "re_ranking.re_ranking"),
    "OpenMMLab": ("_base_", "default_scope"),
    "layumi's Person_reID_baseline_pytorch": (
        "linear_num",
        "erasing_p",
        "droprate",
        "nclasses",
        "PCB",
        "batchsize",
    ),
    "ultralytics": ("tracker_type", "nc", "imgsz", "task", "yaml_file"),
    "BoxMOT": (
        "track_high_thresh",
        "new_track_thresh",
        "cmc_method",
        "asso_func",
        "reid_weights",
        "ema_alpha",
    ),
    "DeepSORT or StrongSORT": ("DEEPSORT", "STRONGSORT"),
    "a DeepStream tracker": ("TargetManagement", "VisualTracker", "StateEstimator", "DataAssociator"),
    "PaddleDetection": ("architecture", "LearningRate", "TrainDataset"),
    "detectron2": ("MODEL.ROI_HEADS", "MODEL.WEIGHTS", "VERSION"),
}
# (key, prefixes of its value, project)
VALUES = (("MODEL.TRANSFORMER_TYPE", ("swin",), "SOLIDER or another Swin transformer"),)


def refuse_external(data: Mapping[Any, Any], where: str) -> None:
    """Raise ConfigError if `data`, the content of a configuration file, has the keys of a project such as fast-reid or SOLIDER.

    The projects are those in SIGNS and VALUES; files of this project, TransReID and AMG pass. The message names the file (`where`),
    the project and the keys that show it.
    """
    for key, prefixes, project in VALUES:
        value = _lookup(data, key)
        if isinstance(value, str) and value.strip("()'\" ").startswith(prefixes):
            raise _refusal(where, project, f"its {key} is {printable(value)}")
    for project, keys in SIGNS.items():
        if present := [key for key in keys if _lookup(data, key, default=_ABSENT) is not _ABSENT]:
            raise _refusal(where, project, f"it has {', '.join(present[:3])}")


_ABSENT = object()


def _lookup(data: Mapping[Any, Any], key: str, *, default: Any = None) -> Any:
    value: Any = data
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value


def _refusal(where: str, project: str, evidence: str) -> ConfigError:
    return ConfigError(
        f"{where}: is a configuration of {project} ({evidence}), whose models this project does not import; export the model to "
        "ONNX there and adopt that file: python -m export adopt MODEL.onnx --out ADOPTED.onnx (docs/adopt.md)"
    )
