"""TransReID and AMG checkpoints (.pth) as our model: safe loading only, everything checked against the shapes."""

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

from prune.importing.unwrap import counted, inner, siblings, unprefixed, unread
from prune.model.architecture import Architecture, BlockArchitecture
from prune.model.file import load_strictly
from prune.model.tensors import refuse_odd
from prune.model.transreid import TransReID
from prune.origin import camera_advice, token_advice
from runtime.console import note
from runtime.errors import ArtifactError
from runtime.wording import printable, reason_of

# How torch names what its restricted unpickler does not let in.
OBJECT = re.compile(r"(?:GLOBAL|global|class|function)\s+['\"]?([A-Za-z_][\w.]*\.[\w.]+)")
RESAVE = "on the machine that made it, save {} alone with torch.save"
# numpy's own unpickling functions can be made to read memory that is not theirs: these two stand in for them.
FORMATS = {"i8": "<q", "i4": "<i", "f8": "<d", "f4": "<f"}


class _Dtype:
    """Stands for numpy.dtype in a pickle: one of FORMATS, whatever state follows is ignored."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in FORMATS:
            raise pickle.UnpicklingError(f"numpy type {code!r} has no place in a checkpoint")
        self.format = FORMATS[code]

    def __setstate__(self, state: Any) -> None:
        """Byte order and flags; a checkpoint is little-endian as every machine that trains is."""


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    """Stands for numpy.core.multiarray.scalar in a pickle."""
    return struct.unpack(dtype.format, data)[0]


# What an honest AMG checkpoint holds besides tensors: numpy integers. Nothing else is let in.
ALLOWED: list[Any] = [
    _Dtype,
    (_Dtype, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The pickled dictionary at `path`, read with torch's restricted unpickler and ALLOWED only; ArtifactError otherwise."""
    try:
        with torch.serialization.safe_globals(ALLOWED):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; give a TransReID or AMG checkpoint (.pth)") from None
    # a damaged file makes torch raise whatever its parts raise: struct.error, IndexError, AssertionError, ..
    except Exception as error:
        raise ArtifactError(f"{path}: {_why_refused(error)}") from None
    if not isinstance(data, dict):
        raise ArtifactError(
            f"{path}: holds a {type(data).__name__}, not a state_dict; {RESAVE.format('model.state_dict()')}"
        )
    return data


def _why_refused(error: Exception) -> str:
    """What the restricted unpickler met, and what to do: an object is named, else the reason is given without torch's advice."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    if named := OBJECT.search(text):
        return (
            f"refused, it holds an object of {printable(named[1])}, and reading one can run code; "
            f"{RESAVE.format('its tensors')}"
        )
    cause = reason_of(text.strip().partition("\n")[0]) or type(error).__name__
    return (
        f"refused, not a whole checkpoint of tensors and numbers ({cause}); compare its size with the original's, and "
        f"copy it anew if they differ, or {RESAVE.format('its state_dict')}"
    )


def split_checkpoint(
    data: dict[str, Any], path: Path | str
) -> tuple[dict[str, Tensor], dict[str, list[int] | None]]:
    """(state_dict without wrappers and prefixes, {"channels": kept tokens per block or None, "heads": heads per block or None})."""
    levels, names = inner(data)
    tensors = {str(key): value for key, value in levels[-1].items() if isinstance(value, Tensor)}
    left_out = sorted({key.rpartition(".")[2] if unread(key) else "" for key in tensors} - {""})
    tensors = {key: value for key, value in tensors.items() if not unread(key)}
    refuse_odd(tensors, path)
    if not tensors:
        keys = ", ".join(printable(str(key)) for key in list(levels[-1])[:10])
        raise ArtifactError(
            f"{path}: no tensors found (keys: {keys}); give a TransReID or AMG checkpoint, or save its state_dict alone"
        )
    if left_out:
        note(f"{path}: left out, as no forward pass reads it: {', '.join(left_out)}")
    if names and (others := siblings(levels[-2], names[-1])):
        note(f"{path}: taken from {'.'.join(names)}; left out: {', '.join(others)}")
    state = unprefixed(tensors, str(path))
    lists: dict[str, list[int] | None] = {}
    for name in ("channels", "heads"):
        values = next((level[name] for level in levels[:-1] if level.get(name) is not None), None)
        try:
            lists[name] = None if values is None else [int(value) for value in values]
        except (TypeError, ValueError, RuntimeError):
            raise ArtifactError(
                f"{path}: its `{name}` is no list of numbers; the file is inconsistent"
            ) from None
    return state, lists


def original_tokens(masks: Sequence[Sequence[bool]]) -> list[tuple[int, ...]]:
    """The authors' per-block masks, each in the order the blocks before it left, as ascending original token ids.

    After a block the kept tokens stand first, the skipped after them; the next mask refers to that order.
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
    """`architecture` (the configuration's, unpruned) with heads and tokens as the tensors have them.

    ArtifactError when the configuration cannot be the model's (stride, cameras, variant) or the stored lists disagree.
    """
    vit, depth = architecture.vit, architecture.prunable
    names = [f"base.blocks.{index}.attn.token_index" for index in range(depth)]
    for name in ("base.sie_embed", "classifier.weight", *names):
        if name in state and not state[name].dim():
            raise ArtifactError(f"{path}: its {name} is a single number; the file is inconsistent")
    try:
        positions = state["base.pos_embed"].shape[1]
        rows = [state[f"base.blocks.{index}.attn.qkv.weight"].shape[0] for index in range(depth)]
    except (KeyError, IndexError) as error:
        raise ArtifactError(
            f"{path}: no {error} in it; not a {architecture.variant} TransReID checkpoint? Check --config"
        ) from None
    if positions != architecture.tokens:
        raise ArtifactError(
            f"{path}: base.pos_embed has {positions} tokens, the configuration's {architecture.height}x{architecture.width} stride "
            f"{architecture.stride} gives {architecture.tokens}; {token_advice(positions, architecture)}"
        )
    cameras = state["base.sie_embed"].shape[0] if "base.sie_embed" in state else 0
    if cameras != architecture.cameras:
        raise ArtifactError(
            f"{path}: {cameras} camera embeddings, the configuration says {architecture.cameras}; "
            f"{camera_advice(cameras, architecture)}"
        )
    if any(row % (3 * vit.head_dim) for row in rows):
        raise ArtifactError(
            f"{path}: qkv rows {rows} are no multiples of 3 x {vit.head_dim}; another variant? Check --config"
        )
    heads = [row // (3 * vit.head_dim) for row in rows]
    masks = [state[name].bool().tolist() if name in state else [True] * architecture.tokens for name in names]
    for index, mask in enumerate(masks):
        if len(mask) != architecture.tokens or not mask[0]:
            raise ArtifactError(
                f"{path}: block {index} token_index has {len(mask)} entries or drops the class token"
            )
    _agree(path, "heads", lists["heads"], heads)
    _agree(path, "channels", lists["channels"], [sum(mask) for mask in masks])
    identities = state["classifier.weight"].shape[0] if "classifier.weight" in state else 0
    blocks = tuple(
        BlockArchitecture(tuple(range(count)), kept) for count, kept in zip(heads, original_tokens(masks))
    )
    return dataclasses.replace(architecture, identities=identities).with_blocks(
        blocks + architecture.blocks[depth:]
    )


def _agree(path: Path | str, name: str, stored: list[int] | None, found: list[int]) -> None:
    # Freshly pruned checkpoints list the pruned blocks; re-saved ones append the last, unpruned block.
    if stored is not None and stored[: len(found)] != found:
        raise ArtifactError(
            f"{path}: its `{name}` list {stored} disagrees with its tensors {found}; the file is inconsistent"
        )


def used(state: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The tensors the model runs: without token masks, unused classifier of ImageNet and, under the JPM, the unused last block."""
    dropped = ["base.fc.", "base.head."]
    if architecture.jpm:
        dropped += [f"base.blocks.{architecture.vit.depth - 1}.", "base.norm."]
    return {
        key: value
        for key, value in state.items()
        if not key.startswith(tuple(dropped)) and not key.endswith("attn.token_index")
    }


def convert(path: Path | str, architecture: Architecture, *, drop_path: float = 0.1) -> TransReID:
    """The published checkpoint at `path` as our model (eval mode), fitting the configuration's `architecture`."""
    state, lists = split_checkpoint(read_checkpoint(path), path)
    full = derive_architecture(state, lists, architecture, path)
    model = TransReID(full, drop_path=drop_path)
    load_strictly(model, counted(used(state, full), model.state_dict()), path)
    return model.eval()
