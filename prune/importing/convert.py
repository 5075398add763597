"""Convert published checkpoints (.pth): read them safely, and check every tensor against the architecture."""

from __future__ import annotations

import dataclasses
import pickle
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prune.importing.layouts import in_our_names
from prune.importing.unwrap import other_models, unprefixed, unread_part, unwrap, with_batch_counters
from prune.model.architecture import Architecture, BlockArchitecture
from prune.model.file import load_strictly
from prune.model.tensors import refuse_unusable
from prune.model.transreid import TransReID
from prune.origin import camera_advice, token_advice
from runtime.console import note
from runtime.errors import ArtifactError
from runtime.wording import printable, reason_of

# How torch names the object that its restricted unpickler refuses.
REFUSED_OBJECT = re.compile(r"(?:GLOBAL|global|class|function)\s+['\"]?([A-Za-z_][\w.]*\.[\w.]+)")
RESAVE = "on the machine that made it, save {} alone with torch.save"
# numpy's own unpickling functions can be made to read memory out of bounds, so _Dtype and _scalar stand in for them.
FORMATS = {"i8": "<q", "i4": "<i", "f8": "<d", "f4": "<f"}


class _Dtype:
    """A stand-in for numpy.dtype in a pickle: one of FORMATS."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in FORMATS:
            raise pickle.UnpicklingError(f"the numpy type {code!r} does not belong in a checkpoint")
        self.format = FORMATS[code]

    def __setstate__(self, state: Any) -> None:
        """Refuse big-endian numbers. The other entries of `state` describe types that are not in FORMATS."""
        if state[1] == ">":
            raise pickle.UnpicklingError("a big-endian numpy number does not belong in a checkpoint")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    """A stand-in for numpy.core.multiarray.scalar in a pickle."""
    return struct.unpack(dtype.format, data)[0]


# A genuine AMG checkpoint holds numpy integers besides its tensors. The unpickler accepts nothing else.
ALLOWED: list[Any] = [
    _Dtype,
    (_Dtype, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Return the dictionary in the pickled checkpoint at `path`, read with torch's restricted unpickler.

    Raises ArtifactError when the file is missing or damaged, is no dictionary, or holds objects other than tensors,
    plain values and the numpy numbers in ALLOWED.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; correct the path of the checkpoint") from None
    # in a damaged file torch meets errors of any kind: struct.error, IndexError, AssertionError and others
    except Exception as error:
        raise ArtifactError(f"{path}: {_refusal_reason(error)}") from None
    if not isinstance(data, dict):
        raise ArtifactError(
            f"{path}: holds a {type(data).__name__}, not a state_dict; {RESAVE.format('model.state_dict()')}"
        )
    return data


def _refusal_reason(error: Exception) -> str:
    """Say which object the restricted unpickler refused, or else why it failed, and what to do; torch's own advice is left out."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    if refused_object := REFUSED_OBJECT.search(text):
        return (
            f"refused, because it holds an object of {printable(refused_object[1])}, and reading an object can run code; "
            f"{RESAVE.format('its tensors')}"
        )
    cause = reason_of(text.strip().partition("\n")[0]) or type(error).__name__
    return (
        f"refused, because it is not a complete checkpoint of tensors and numbers ({cause}); compare its size with the "
        f"original's and copy it again if they differ, or {RESAVE.format('its state_dict')}"
    )


def split_checkpoint(
    data: dict[str, Any], path: Path | str
) -> tuple[dict[str, Tensor], dict[str, list[int] | None]]:
    """Return (the state_dict without wrappers and prefixes, the lists that AMG stores beside it).

    `data` is the content of the checkpoint at `path`. The lists are {"channels": numbers of kept tokens per block, "heads": numbers
    of heads per block}; a list that the checkpoint does not have is None. Raises ArtifactError when there are no tensors, when a
    tensor is not a plain array, or when a list does not hold numbers.
    """
    levels, names = unwrap(data)
    tensors = {str(key): value for key, value in levels[-1].items() if isinstance(value, Tensor)}
    unread = sorted({part for key in tensors if (part := unread_part(key)) is not None})
    tensors = {key: value for key, value in tensors.items() if unread_part(key) is None}
    refuse_unusable(tensors, path)
    if not tensors:
        keys = ", ".join(printable(str(key)) for key in list(levels[-1])[:10])
        raise ArtifactError(
            f"{path}: holds no tensors (its keys: {keys}); give a TransReID or AMG checkpoint, or save its state_dict alone"
        )
    if unread:
        note(
            f"{path}: these tensors are ignored, because no forward pass of images reads them: {', '.join(unread)}"
        )
    if names and (others := other_models(levels[-2], names[-1])):
        note(
            f"{path}: holds several models; {'.'.join(names)} is used, these are ignored: {', '.join(others)}"
        )
    state = in_our_names(unprefixed(tensors, str(path)))
    lists: dict[str, list[int] | None] = {}
    for name in ("channels", "heads"):
        values = next((level[name] for level in levels[:-1] if level.get(name) is not None), None)
        try:
            lists[name] = None if values is None else [int(value) for value in values]
        except (TypeError, ValueError, RuntimeError):
            raise ArtifactError(
                f"{path}: its `{name}` is not a list of numbers; the file is inconsistent: save or download it again"
            ) from None
    return state, lists


def original_tokens(masks: Sequence[Sequence[bool]]) -> list[tuple[int, ...]]:
    """Return the ids of the tokens that each block keeps, ascending, as numbered in the unpruned model.

    `masks` are the token masks of an AMG checkpoint, one per block, True for a kept token. The class token, id 0, is in the masks and
    in the result. In AMG's code a block moves its kept tokens to the front and the skipped ones behind them, and the mask of the next
    block refers to this new order. A token that one block skips may therefore be kept by the next.
    """
    order = list(range(len(masks[0]))) if masks else []
    kept_sets = []
    for mask in masks:
        kept = [token for token, active in zip(order, mask) if active]
        order = kept + [token for token, active in zip(order, mask) if not active]
        kept_sets.append(tuple(sorted(kept)))
    return kept_sets


def derive_architecture(
    state: dict[str, Tensor], lists: dict[str, list[int] | None], architecture: Architecture, path: Path | str
) -> Architecture:
    """Return `architecture`, the unpruned one of the configuration, reduced to the heads and tokens of the checkpoint at `path`.

    `state` and `lists` are the results of `split_checkpoint`. Raises ArtifactError when the stride, the cameras or the variant of
    the configuration do not fit the tensors, or when the stored lists contradict the tensors.
    """
    vit, depth = architecture.vit, architecture.prunable
    names = [f"base.blocks.{index}.attn.token_index" for index in range(depth)]
    for name in ("base.sie_embed", "classifier.weight", *names):
        if name in state and not state[name].dim():
            raise ArtifactError(
                f"{path}: its {name} is a single number instead of a table; the file is inconsistent: save or download it again"
            )
    try:
        positions = state["base.pos_embed"].shape[1]
        rows = [state[f"base.blocks.{index}.attn.qkv.weight"].shape[0] for index in range(depth)]
    except (KeyError, IndexError) as error:
        problem = f"has no {error}" if isinstance(error, KeyError) else "has a tensor with too few dimensions"
        raise ArtifactError(
            f"{path}: {problem}, so it is not a TransReID checkpoint of {architecture.variant}; "
            "check the file, and model.variant in --config"
        ) from None
    if positions != architecture.tokens:
        raise ArtifactError(
            f"{path}: base.pos_embed has {positions} tokens, but {architecture.height}x{architecture.width} at stride "
            f"{architecture.stride} in the configuration gives {architecture.tokens}; {token_advice(positions, architecture)}"
        )
    cameras = state["base.sie_embed"].shape[0] if "base.sie_embed" in state else 0
    if cameras != architecture.cameras:
        raise ArtifactError(
            f"{path}: has {cameras} camera embeddings, but the configuration says {architecture.cameras}; "
            f"{camera_advice(cameras)}"
        )
    if any(row % (3 * vit.head_dim) for row in rows):
        raise ArtifactError(
            f"{path}: the numbers of qkv rows, {rows}, are not multiples of 3 x {vit.head_dim}, so the checkpoint is not of "
            f"variant {architecture.variant}; correct model.variant in --config"
        )
    heads = [row // (3 * vit.head_dim) for row in rows]
    masks = [state[name].bool().tolist() if name in state else [True] * architecture.tokens for name in names]
    for index, mask in enumerate(masks):
        if len(mask) != architecture.tokens or not mask[0]:
            raise ArtifactError(
                f"{path}: token_index of block {index} (it has {len(mask)} entries) must have "
                f"{architecture.tokens} entries and keep the first one, the class token; "
                "the file is inconsistent: save or download it again"
            )
    _check_list(path, "heads", lists["heads"], heads)
    _check_list(path, "channels", lists["channels"], [sum(mask) for mask in masks])
    identities = state["classifier.weight"].shape[0] if "classifier.weight" in state else 0
    blocks = tuple(
        BlockArchitecture(tuple(range(count)), kept) for count, kept in zip(heads, original_tokens(masks))
    )
    return dataclasses.replace(architecture, identities=identities).with_blocks(
        blocks + architecture.blocks[depth:]
    )


def _check_list(path: Path | str, name: str, stored: list[int] | None, counts: list[int]) -> None:
    # a freshly pruned checkpoint lists the pruned blocks; one that was saved again also lists the last, unpruned block
    if stored is not None and stored[: len(counts)] != counts:
        raise ArtifactError(
            f"{path}: its `{name}` list {stored} contradicts its tensors, which have {counts}; the file is inconsistent: "
            "save or download it again"
        )


def model_tensors(state: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return the tensors of `state` that the model uses: no token masks, no ImageNet classifier and, with the JPM, no last block."""
    unused = ["base.fc.", "base.head."]
    if architecture.jpm:
        unused += [f"base.blocks.{architecture.vit.depth - 1}.", "base.norm."]
    return {
        key: value
        for key, value in state.items()
        if not key.startswith(tuple(unused)) and not key.endswith("attn.token_index")
    }


def convert_state(
    state: dict[str, Tensor],
    lists: dict[str, list[int] | None],
    architecture: Architecture,
    path: Path | str,
    drop_path: float,
) -> TransReID:
    """Return the published checkpoint at `path` as a model in eval mode, on the CPU.

    `state` and `lists` are the results of `split_checkpoint`, `architecture` is the unpruned one of its configuration, and `drop_path`
    is the drop-path rate of the model in training. Raises ArtifactError when the tensors do not fit the architecture.
    """
    pruned = derive_architecture(state, lists, architecture, path)
    model = TransReID(pruned, drop_path=drop_path)
    tensors = with_batch_counters(model_tensors(state, pruned), model.state_dict())
    load_strictly(model, tensors, path)
    return model.eval()
