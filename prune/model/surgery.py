"""Cut heads, tokens, MLP neurons and whole blocks out of a model: a new model, the old one untouched. Decides nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from prune.model.architecture import REMOVED, Architecture
from prune.model.transreid import TransReID


def keep_head_rows(qkv: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Rows (q, k, v) x head x head_dim of a qkv weight (rows, D) or bias (rows,) that belong to the kept heads."""
    view = qkv.unflatten(0, (3, -1, head_dim))
    return view[:, list(keep)].flatten(0, 2).clone()


def keep_head_columns(proj: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Columns head x head_dim of a projection weight (D, columns) that belong to the kept heads."""
    return proj.unflatten(1, (-1, head_dim))[:, list(keep)].flatten(1).clone()


def keep_heads(model: TransReID, keep: Sequence[Sequence[int]]) -> TransReID:
    """A model with only the heads `keep[block]` (positions among the block's present heads) in the first blocks.

    Here and below a removed block stays removed, whatever is to be kept of it.
    """
    blocks = list(model.architecture.blocks)
    state = dict(model.state_dict())
    for index, positions in _present(model.architecture, keep):
        heads = tuple(blocks[index].heads[position] for position in positions)
        blocks[index] = dataclasses.replace(blocks[index], heads=heads)
        name, size = f"base.blocks.{index}.attn", model.architecture.vit.head_dim
        for key in (f"{name}.qkv.weight", f"{name}.qkv.bias"):
            if key in state:
                state[key] = keep_head_rows(state[key], positions, size)
        state[f"{name}.proj.weight"] = keep_head_columns(state[f"{name}.proj.weight"], positions, size)
    return rebuild(model, model.architecture.with_blocks(tuple(blocks)), state)


def keep_tokens(model: TransReID, keep: Sequence[Sequence[int]], *, mode: str | None = None) -> TransReID:
    """A model whose first blocks see only tokens `keep[block]` (original ids; the class token is always added)."""
    blocks = list(model.architecture.blocks)
    for index, tokens in _present(model.architecture, keep):
        blocks[index] = dataclasses.replace(blocks[index], tokens=tuple(sorted({0, *tokens})))
    architecture = dataclasses.replace(model.architecture, mode=mode or model.architecture.mode).with_blocks(
        tuple(blocks)
    )
    return rebuild(model, architecture, model.state_dict())


def keep_neurons(model: TransReID, keep: Sequence[Sequence[int]]) -> TransReID:
    """A model with only the MLP neurons `keep[block]` (positions among the block's present ones) in the first blocks."""
    blocks = list(model.architecture.blocks)
    state = dict(model.state_dict())
    for index, positions in _present(model.architecture, keep):
        whole = len(positions) == model.architecture.vit.hidden
        blocks[index] = dataclasses.replace(blocks[index], hidden=None if whole else len(positions))
        name, chosen = f"base.blocks.{index}.mlp", list(positions)
        for key in (f"{name}.fc1.weight", f"{name}.fc1.bias"):
            state[key] = state[key][chosen].clone()
        state[f"{name}.fc2.weight"] = state[f"{name}.fc2.weight"][:, chosen].clone()
    return rebuild(model, model.architecture.with_blocks(tuple(blocks)), state)


def remove_blocks(model: TransReID, remove: Sequence[int]) -> TransReID:
    """A model without the blocks `remove` (original indices); the others keep their indices, and their tensors their names."""
    gone = set(remove)
    blocks = tuple(
        REMOVED if index in gone else block for index, block in enumerate(model.architecture.blocks)
    )
    prefixes = tuple(f"base.blocks.{index}." for index in gone)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(prefixes)}
    return rebuild(model, model.architecture.with_blocks(blocks), state)


def _present(
    architecture: Architecture, keep: Sequence[Sequence[int]]
) -> Iterator[tuple[int, Sequence[int]]]:
    return ((index, kept) for index, kept in enumerate(keep) if not architecture.blocks[index].removed)


def rebuild(model: TransReID, architecture: Architecture, state: dict[str, Tensor]) -> TransReID:
    """A new model of `architecture` with these tensors, on the same device, in the same training mode and with the same drop-path."""
    last = model.b1[0] if architecture.jpm else model.base.blocks[-1]
    with torch.random.fork_rng(devices=[]):
        # initial values are overwritten; the caller's random stream stays as it was
        new = TransReID(architecture, drop_path=getattr(last.drop_path, "drop_prob", 0.0))
    new.load_state_dict(state)
    return new.to(model.base.cls_token.device).train(model.training)
