"""The model's tensors out of what people wrap them in: dictionaries, prefixes, what no forward pass reads. Reads no files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from runtime.errors import ArtifactError
from runtime.wording import printable

# Where training programs keep a model, the likeliest first.
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
DEEPEST = 6
# A ViT's first tensors, by which the prefixes in front of it are known.
ANCHOR = re.compile(r"^(|.*\.)(?:blocks\.\d+\.attn\.qkv\.weight|cls_token|pos_embed)$")
# What no forward pass reads, by its last name or by a part of its name: counters of batch-norm layers aside, whose values the model
# keeps without reading them.
UNREAD_LAST = frozenset(
    ["centers", "center", "queue", "queue_ptr", "queue_label", "total_ops", "total_params", "n_averaged"]
    + ["__flops__", "__params__", "epoch", "iteration", "iter_num", "step", "global_step"]
)
UNREAD_PART = frozenset(
    ["criterion", "center_criterion", "center_loss", "loss", "loss_fn", "loss_func", "memory", "memory_bank"]
)
COUNTER = "num_batches_tracked"


def inner(data: Mapping[Any, Any]) -> tuple[list[Mapping[Any, Any]], list[str]]:
    """(the dictionaries from the outermost to that of the model's tensors, the names that lead there).

    The last one holds no tensors where none were found.
    """
    levels, names = [data], list[str]()
    while len(names) < DEEPEST:
        inside = [name for name in WRAPPERS if isinstance(levels[-1].get(name), Mapping)]
        chosen = next((name for name in inside if _holds_tensors(levels[-1][name], DEEPEST)), None)
        if chosen is None:
            return levels, names
        levels.append(levels[-1][chosen])
        names.append(chosen)
    return levels, names


def siblings(data: Mapping[Any, Any], chosen: str) -> list[str]:
    """Further wrappers with tensors beside the chosen one: an average of the weights, a student."""
    return [
        name
        for name in WRAPPERS
        if name != chosen and isinstance(data.get(name), Mapping) and _holds_tensors(data[name], DEEPEST)
    ]


def unprefixed(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors under TransReID's names, or a bare ViT's under timm's, without the prefixes of programs that wrapped them.

    ArtifactError when two of them would have one name.
    """
    found = Counter(match[1] for key in state if (match := ANCHOR.match(key)))
    if not found:
        return dict(state)
    prefix = found.most_common(1)[0][0]
    parent = _parent(prefix)
    names = {key: key for key in state}
    if prefix.endswith("base."):
        names = {key: key.removeprefix(prefix.removesuffix("base.")) for key in state}
    elif any(key.startswith(f"{parent}bottleneck.") for key in state):
        # a re-identification model whose backbone has another name than base
        names = {
            key: f"base.{key.removeprefix(prefix)}" if key.startswith(prefix) else key.removeprefix(parent)
            for key in state
        }
    elif prefix:
        names = {key: key.removeprefix(prefix) for key in state}
    # what else DistributedDataParallel and torch.compile prefixed, such as a loss beside the model
    names = {key: _without_programs(name) for key, name in names.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ArtifactError(
            f"{where}: {len(twice)} tensors stand there twice, under different prefixes, first {printable(twice[0])}; "
            "save one of the two models alone"
        )
    return {names[key]: value for key, value in state.items()}


def unread(key: str) -> bool:
    """Whether no forward pass reads the tensor of this name: a loss's centres, a profiler's counters, a step."""
    parts = key.split(".")
    return parts[-1] in UNREAD_LAST or not UNREAD_PART.isdisjoint(parts[:-1])


def counted(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the counters of batch-norm layers as `wanted` has them: of shape (), and 0 where there is none.

    With a fixed momentum no forward pass reads them.
    """
    counters = {}
    for key, value in wanted.items():
        if key.endswith(COUNTER):
            given = state.get(key)
            usable = given is not None and given.numel() == 1 and bool(given.isfinite().all())
            counters[key] = given.reshape(()) if given is not None and usable else value.clone().zero_()
    extra = {key for key in state if key.endswith(COUNTER) and key not in counters}
    return {key: value for key, value in state.items() if key not in extra} | counters


def _holds_tensors(data: Mapping[Any, Any], depth: int) -> bool:
    values = list(data.values())
    if any(isinstance(value, Tensor) and value.dim() > 0 for value in values):
        return True
    nested = [data[name] for name in WRAPPERS if isinstance(data.get(name), Mapping)]
    return depth > 0 and any(_holds_tensors(value, depth - 1) for value in nested)


def _parent(prefix: str) -> str:
    return ".".join(prefix.split(".")[:-2] + [""]) if prefix.count(".") > 1 else ""


def _without_programs(name: str) -> str:
    while (short := name.removeprefix("module.").removeprefix("_orig_mod.")) != name:
        name = short
    return name
