"""Cut heads and tokens out of a model: a new model and a new shape, the old one untouched. Decides nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from prune.model import TransReID
from prune.shape import BlockShape, Shape


def keep_head_rows(qkv: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Rows (q, k, v) x head x head_dim of a qkv weight (rows, D) or bias (rows,) that belong to the kept heads."""
    view = qkv.unflatten(0, (3, -1, head_dim))
    return view[:, list(keep)].flatten(0, 2).clone()


def keep_head_columns(proj: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Columns head x head_dim of a projection weight (D, columns) that belong to the kept heads."""
    return proj.unflatten(1, (-1, head_dim))[:, list(keep)].flatten(1).clone()


def keep_heads(model: TransReID, keep: Sequence[Sequence[int]]) -> TransReID:
    """A model with only the heads `keep[block]` (positions among the block's present heads) in the first blocks."""
    blocks = list(model.shape.blocks)
    state = dict(model.state_dict())
    for index, positions in enumerate(keep):
        blocks[index] = BlockShape(
            tuple(blocks[index].heads[position] for position in positions), blocks[index].tokens
        )
        name, size = f"base.blocks.{index}.attn", model.shape.vit.head_dim
        for key in (f"{name}.qkv.weight", f"{name}.qkv.bias"):
            if key in state:
                state[key] = keep_head_rows(state[key], positions, size)
        state[f"{name}.proj.weight"] = keep_head_columns(state[f"{name}.proj.weight"], positions, size)
    return rebuild(model, model.shape.with_blocks(tuple(blocks)), state)


def keep_tokens(model: TransReID, keep: Sequence[Sequence[int]], *, mode: str | None = None) -> TransReID:
    """A model whose first blocks see only tokens `keep[block]` (original ids; the class token is always added)."""
    blocks = list(model.shape.blocks)
    for index, tokens in enumerate(keep):
        blocks[index] = BlockShape(blocks[index].heads, tuple(sorted({0, *tokens})))
    shape = dataclasses.replace(model.shape, mode=mode or model.shape.mode).with_blocks(tuple(blocks))
    return rebuild(model, shape, model.state_dict())


def rebuild(model: TransReID, shape: Shape, state: dict[str, Tensor]) -> TransReID:
    """A new model of `shape` with these tensors, on the same device, in the same training mode and with the same drop-path."""
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.base.blocks]
    if shape.jpm:
        rates.append(getattr(model.b1[0].drop_path, "drop_prob", 0.0))
    with torch.random.fork_rng(devices=[]):
        # initial values are overwritten; the caller's random stream stays as it was
        new = TransReID(shape, drop_path=max(rates))
    new.load_state_dict(state)
    return new.to(model.base.cls_token.device).train(model.training)
