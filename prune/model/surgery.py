"""Remove given heads, tokens, MLP neurons and blocks from a model. Every function returns a new model; none changes its argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from prune.model.architecture import REMOVED, Architecture
from prune.model.transreid import TransReID


def keep_head_rows(qkv: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Return those rows of a qkv weight (rows, D) or bias (rows,) that belong to the heads at the positions `keep`.

    The rows are ordered by (q, k, v), then head, then `head_dim` values of each head.
    """
    view = qkv.unflatten(0, (3, -1, head_dim))
    return view[:, list(keep)].flatten(0, 2).clone()


def keep_head_columns(proj: Tensor, keep: Sequence[int], head_dim: int) -> Tensor:
    """Return those columns of a projection weight (D, columns) that belong to the heads at the positions `keep`.

    The columns are ordered by head, with `head_dim` columns for each.
    """
    return proj.unflatten(1, (-1, head_dim))[:, list(keep)].flatten(1).clone()


def keep_heads(model: TransReID, keep: Sequence[Sequence[int]]) -> TransReID:
    """Return a new model whose first len(keep) blocks have only the heads `keep[block]`.

    A head is given by its 0-based position among the heads that the block still has. A removed block stays removed, and its entry
    in `keep` is ignored.
    """
    blocks = list(model.architecture.blocks)
    state = dict(model.state_dict())
    for index, positions in _present_blocks(model.architecture, keep):
        heads = tuple(blocks[index].heads[position] for position in positions)
        blocks[index] = dataclasses.replace(blocks[index], heads=heads)
        name, size = f"base.blocks.{index}.attn", model.architecture.vit.head_dim
        for key in (f"{name}.qkv.weight", f"{name}.qkv.bias"):
            if key in state:
                state[key] = keep_head_rows(state[key], positions, size)
        state[f"{name}.proj.weight"] = keep_head_columns(state[f"{name}.proj.weight"], positions, size)
    return rebuild(model, model.architecture.with_blocks(tuple(blocks)), state)


def keep_tokens(model: TransReID, keep: Sequence[Sequence[int]], *, mode: str | None = None) -> TransReID:
    """Return a new model whose first len(keep) blocks process only the leading tokens and the tokens `keep[block]`.

    A token is given by its id in the unpruned model. `mode` is bypass or kv (see `Architecture`), and None means the mode of
    `model`. A removed block stays removed, and its entry in `keep` is ignored.
    """
    blocks = list(model.architecture.blocks)
    for index, tokens in _present_blocks(model.architecture, keep):
        kept = tuple(sorted({*range(model.architecture.leading), *tokens}))
        blocks[index] = dataclasses.replace(blocks[index], tokens=kept)
    architecture = dataclasses.replace(model.architecture, mode=mode or model.architecture.mode).with_blocks(
        tuple(blocks)
    )
    return rebuild(model, architecture, model.state_dict())


def keep_neurons(model: TransReID, keep: Sequence[Sequence[int]]) -> TransReID:
    """Return a new model whose first len(keep) blocks have only the MLP neurons `keep[block]`.

    A neuron is given by its 0-based position among the neurons that the block still has. A removed block stays removed, and its
    entry in `keep` is ignored.
    """
    blocks = list(model.architecture.blocks)
    state = dict(model.state_dict())
    for index, positions in _present_blocks(model.architecture, keep):
        keeps_all = len(positions) == model.architecture.vit.hidden
        blocks[index] = dataclasses.replace(blocks[index], hidden=None if keeps_all else len(positions))
        name, kept = f"base.blocks.{index}.mlp", list(positions)
        for key in (f"{name}.fc1.weight", f"{name}.fc1.bias"):
            state[key] = state[key][kept].clone()
        state[f"{name}.fc2.weight"] = state[f"{name}.fc2.weight"][:, kept].clone()
    return rebuild(model, model.architecture.with_blocks(tuple(blocks)), state)


def remove_blocks(model: TransReID, remove: Sequence[int]) -> TransReID:
    """Return a new model without the blocks `remove`, given by their 0-based indices in the unpruned model.

    The other blocks keep their indices and tensor names. Raises ConfigError when no prunable block would be left.
    """
    removed = set(remove)
    blocks = tuple(
        REMOVED if index in removed else block for index, block in enumerate(model.architecture.blocks)
    )
    prefixes = tuple(f"base.blocks.{index}." for index in removed)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(prefixes)}
    return rebuild(model, model.architecture.with_blocks(blocks), state)


def _present_blocks(
    architecture: Architecture, keep: Sequence[Sequence[int]]
) -> Iterator[tuple[int, Sequence[int]]]:
    return ((index, kept) for index, kept in enumerate(keep) if not architecture.blocks[index].removed)


def rebuild(model: TransReID, architecture: Architecture, state: dict[str, Tensor]) -> TransReID:
    """Return a new model of `architecture` with the tensors `state`.

    It is on the device of `model`, and has the same training mode and the same drop-path rate.
    """
    last = model.b1[0] if architecture.jpm else model.base.blocks[-1]
    with torch.random.fork_rng(devices=[]):
        # initial values are drawn and then overwritten; the fork leaves the caller's random stream as it was
        new_model = TransReID(architecture, drop_path=getattr(last.drop_path, "drop_prob", 0.0))
    new_model.load_state_dict(state)
    return new_model.to(model.base.cls_token.device).train(model.training)
