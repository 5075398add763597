"""Run the pure scores over a model and a loader. Changes neither the model nor its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from prune.model import TransReID
from prune.scores import attention_entropy, class_attention, head_magnitudes, token_batch_scores
from runtime.errors import DataError, GateError

# images (B, 3, H, W) normalised, labels (B,), camera rows (B,) or None
Batch = tuple[Tensor, Tensor, Tensor | None]
Loss = Callable[[TransReID, Tensor, Tensor, Tensor | None], Tensor]


@contextmanager
def captured(model: TransReID) -> Iterator[list[Tensor]]:
    """Within the block, every forward appends the attention maps of the prunable blocks, in order, to the yielded list."""
    maps: list[Tensor] = []
    hooks = [
        block.attn.probe.register_forward_hook(lambda module, inputs, output: maps.append(output))
        for block in model.base.blocks[: model.shape.prunable]
    ]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(model: TransReID) -> Iterator[None]:
    """Eval mode inside (no drop-path, frozen batch statistics), the former mode after."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def score_heads(model: TransReID, batches: Iterable[Batch], *, entropy: str = "mean_map") -> list[Tensor]:
    """Head entropies (h_l,) in bits per prunable block, unweighted, over all batches' images in eval mode.

    `entropy`: mean_map (of the mean attention map, as published) or per_image (mean of the images' entropies; kinder to heads
    that look elsewhere in every image). GateError when a map is not finite, DataError when there are no batches.
    """
    totals: list[Tensor] = []
    count = 0
    with evaluating(model), torch.no_grad(), captured(model) as maps:
        for images, _, camera_ids in batches:
            maps.clear()
            model.base(images, camera_ids)
            per_image = entropy == "per_image"
            sums = [
                torch.stack([attention_entropy(image) for image in attention]).sum(dim=0)
                if per_image
                else attention.sum(dim=0)
                for attention in maps
            ]
            totals = [total + part for total, part in zip(totals, sums)] if totals else sums
            count += len(images)
    if not count:
        raise DataError("no images to score heads on; check --data")
    _finite(totals, "attention maps")
    means = [total / count for total in totals]
    return means if entropy == "per_image" else [attention_entropy(mean) for mean in means]


def score_magnitudes(model: TransReID) -> list[Tensor]:
    """2-norms (h_l,) of the heads' weights per prunable block; needs no images."""
    with torch.no_grad():
        return [
            head_magnitudes(
                block.attn.qkv.weight,
                block.attn.qkv.bias,
                block.attn.proj.weight,
                head_dim=block.attn.head_dim,
            )
            for block in model.base.blocks[: model.shape.prunable]
        ]


def score_class_attention(model: TransReID, batches: Iterable[Batch]) -> list[Tensor]:
    """Mean attention (n_l - 1,) of the class token to each patch token per prunable block, over heads and images, in eval mode.

    GateError when a map is not finite, DataError when there are no batches.
    """
    totals: list[Tensor] = []
    count = 0
    with evaluating(model), torch.no_grad(), captured(model) as maps:
        for images, _, camera_ids in batches:
            maps.clear()
            model.base(images, camera_ids)
            parts = [class_attention(attention) for attention in maps]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
            count += len(images)
    if not count:
        raise DataError("no images to score tokens on; check --data")
    _finite(totals, "attention maps")
    return [total / count for total in totals]


def score_tokens(model: TransReID, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Sums over batches of token scores (n_l - 1,) per prunable block, class token left out, in eval mode.

    `loss(model, images, labels, camera_ids)` gives the scalar whose gradient is taken at the attention maps. GateError when a score
    is not finite, DataError when there are no batches.
    """
    totals: list[Tensor] = []
    with evaluating(model), torch.enable_grad(), captured(model) as maps:
        for images, labels, camera_ids in batches:
            maps.clear()
            value = loss(model, images, labels, camera_ids)
            # only the maps' gradients are asked for: no parameter gradient is computed or accumulated
            gradients = torch.autograd.grad(value, maps)
            parts = [token_batch_scores(a.detach(), g)[1:] for a, g in zip(maps, gradients)]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
    if not totals:
        raise DataError("no images to score tokens on; check --data")
    _finite(totals, "token scores")
    return totals


def _finite(values: list[Tensor], what: str) -> None:
    for index, value in enumerate(values):
        if not bool(torch.isfinite(value).all()):
            raise GateError(f"{what} of block {index} are not finite; check the weights and the images")
