"""Find a model's tensors in a checkpoint: inside nested dictionaries, under prefixes, and beside tensors that inference ignores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from runtime.errors import ArtifactError
from runtime.wording import printable

# Keys under which training programs store a model, the most likely first.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "checkpoint",
    "teacher",
    "student",
    "module",
    "backbone",
    "model_ema",
    "state_dict_ema",
    "ema",
    "weights",
    "params",
)
MAX_DEPTH = 6
# Tensors that every ViT has; what stands before their names is the prefix of the ViT.
ANCHOR = re.compile(r"^(|.*\.)(?:blocks\.\d+\.attn\.qkv\.weight|cls_token|pos_embed)$")
# The tensor that shows the image encoder of CLIP-ReID, whose names differ; what stands before is the prefix of the whole model.
CLIP_ANCHOR = re.compile(r"^(|.*\.)image_encoder\.class_embedding$")
# Tensors that no forward pass reads, by the last part of their name or by any earlier part. The counters of batch-norm layers
# are not among them: the model stores their values, though it does not read them either.
UNREAD_LAST = frozenset(
    ["centers", "center", "queue", "queue_ptr", "queue_label", "total_ops", "total_params", "n_averaged"]
    + ["__flops__", "__params__", "epoch", "iteration", "iter_num", "step", "global_step"]
)
UNREAD_PART = frozenset(
    ["criterion", "center_criterion", "center_loss", "loss", "loss_fn", "loss_func", "memory", "memory_bank"]
    # the side of CLIP-ReID that reads texts, in training only
    + ["text_encoder", "prompt_learner"]
)
COUNTER = "num_batches_tracked"


def unwrap(data: Mapping[Any, Any]) -> tuple[list[Mapping[Any, Any]], list[str]]:
    """Return (the nested dictionaries from `data` to the one that holds the model's tensors, the keys that lead there).

    `data` is the content of a checkpoint. If none of its nested dictionaries holds tensors, the result is ([`data`], []).
    """
    levels, names = [data], list[str]()
    while len(names) < MAX_DEPTH:
        wrappers = [name for name in WRAPPERS if isinstance(levels[-1].get(name), Mapping)]
        chosen = next((name for name in wrappers if _holds_tensors(levels[-1][name], MAX_DEPTH)), None)
        if chosen is None:
            return levels, names
        levels.append(levels[-1][chosen])
        names.append(chosen)
    return levels, names


def other_models(data: Mapping[Any, Any], chosen: str) -> list[str]:
    """Return the keys of `data` that hold further models beside the one at the key `chosen`, such as averaged weights or a student."""
    return [
        name
        for name in WRAPPERS
        if name != chosen and isinstance(data.get(name), Mapping) and _holds_tensors(data[name], MAX_DEPTH)
    ]


def unprefixed(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors of `state` under names without the prefixes of wrapping programs, such as `module.`.

    The tensors of a re-identification model get TransReID's names, and those of a plain ViT timm's names. Raises ArtifactError,
    whose message begins with `where`, when two tensors would get the same name.
    """
    prefixes = Counter(match[1] for key in state if (match := ANCHOR.match(key)))
    clip_prefix = next((match[1] for key in state if (match := CLIP_ANCHOR.match(key))), None)
    if not prefixes and clip_prefix is None:
        return dict(state)
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    parent = _parent(prefix)
    names = {key: key for key in state}
    if clip_prefix is not None:
        names = {key: key.removeprefix(clip_prefix) for key in state}
    elif prefix.endswith("base."):
        names = {key: key.removeprefix(prefix.removesuffix("base.")) for key in state}
    elif any(key.startswith(f"{parent}bottleneck.") for key in state):
        # a re-identification model whose backbone is not called base
        names = {
            key: f"base.{key.removeprefix(prefix)}" if key.startswith(prefix) else key.removeprefix(parent)
            for key in state
        }
    elif prefix:
        names = {key: key.removeprefix(prefix) for key in state}
    # DistributedDataParallel and torch.compile prefix more than the model, such as a loss beside it
    names = {key: _without_wrapper_prefixes(name) for key, name in names.items()}
    duplicates = [name for name, count in Counter(names.values()).items() if count > 1]
    if duplicates:
        raise ArtifactError(
            f"{where}: holds {len(duplicates)} tensors twice, under different prefixes, the first {printable(duplicates[0])}; "
            "save one of the two models alone"
        )
    return {names[key]: value for key, value in state.items()}


def unread_part(key: str) -> str | None:
    """Return the part of the tensor name `key` which shows that no forward pass of images reads the tensor; None if one reads it.

    Such tensors are the centres of a loss, a step number, or the text encoder beside an image encoder.
    """
    parts = key.split(".")
    if parts[-1] in UNREAD_LAST:
        return parts[-1]
    return next((f"{part}.*" for part in parts[:-1] if part in UNREAD_PART), None)


def with_batch_counters(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `state` with exactly those batch-norm counters (`num_batches_tracked`) that `expected` has.

    `expected` is the state_dict of the model that gets the tensors. Counters get the shape (), and are 0 where `state` has no
    usable one. They may be replaced, because with a fixed momentum no forward pass reads them.
    """
    counters = {}
    for key, value in expected.items():
        if key.endswith(COUNTER):
            counter = state.get(key)
            if counter is not None and counter.numel() == 1 and bool(counter.isfinite().all()):
                counters[key] = counter.reshape(())
            else:
                counters[key] = value.clone().zero_()
    surplus = {key for key in state if key.endswith(COUNTER) and key not in counters}
    return {key: value for key, value in state.items() if key not in surplus} | counters


def _holds_tensors(data: Mapping[Any, Any], depth: int) -> bool:
    values = list(data.values())
    if any(isinstance(value, Tensor) and value.dim() > 0 for value in values):
        return True
    nested = [data[name] for name in WRAPPERS if isinstance(data.get(name), Mapping)]
    return depth > 0 and any(_holds_tensors(value, depth - 1) for value in nested)


def _parent(prefix: str) -> str:
    return ".".join(prefix.split(".")[:-2] + [""]) if prefix.count(".") > 1 else ""


def _without_wrapper_prefixes(name: str) -> str:
    while (short := name.removeprefix("module.").removeprefix("_orig_mod.")) != name:
        name = short
    return name
