"""Run the pure scores over a model and a loader. Changes neither the model nor its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model.surgery import remove_blocks
from prune.model.transreid import Block, TransReID
from prune.scoring.scores import (
    attention_entropy,
    class_attention,
    head_magnitudes,
    neuron_magnitudes,
    neuron_scores,
    token_batch_scores,
)
from runtime.errors import DataError, GateError

# images (B, 3, H, W) normalised, labels (B,), camera rows (B,) or None
Batch = tuple[Tensor, Tensor, Tensor | None]
Loss = Callable[[TransReID, Tensor, Tensor, Tensor | None], Tensor]


def present(model: TransReID) -> list[Block]:
    """The prunable blocks that are not removed."""
    return [block for block in model.base.blocks[: model.architecture.prunable] if isinstance(block, Block)]


def with_removed(model: TransReID, values: Sequence[Tensor]) -> list[Tensor]:
    """One tensor per prunable block from one per present block: nothing, (0,), where a block is removed."""
    given, missing = iter(values), torch.empty(0)
    blocks = model.architecture.blocks[: model.architecture.prunable]
    return [missing if block.removed else next(given) for block in blocks]


def probes(model: TransReID) -> list[nn.Module]:
    """What gives the attention maps (B, heads, queries, keys) of the present prunable blocks."""
    return [block.attn.probe for block in present(model)]


@contextmanager
def captured(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Within the block, every forward appends what `modules` give, in order, to the yielded list."""
    maps: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: maps.append(output)) for module in modules
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
    with evaluating(model), torch.no_grad(), captured(probes(model)) as maps:
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
    means = [total / count for total in totals]
    entropies = means if entropy == "per_image" else [attention_entropy(mean) for mean in means]
    return _finite(with_removed(model, entropies), "attention maps")


def score_magnitudes(model: TransReID) -> list[Tensor]:
    """2-norms (h_l,) of the heads' weights per prunable block; needs no images."""
    with torch.no_grad():
        found = [
            head_magnitudes(
                block.attn.qkv.weight,
                block.attn.qkv.bias,
                block.attn.proj.weight,
                head_dim=block.attn.head_dim,
            )
            for block in present(model)
        ]
        return with_removed(model, found)


def score_class_attention(model: TransReID, batches: Iterable[Batch]) -> list[Tensor]:
    """Mean attention (n_l - 1,) of the class token to each patch token per prunable block, over heads and images, in eval mode.

    GateError when a map is not finite, DataError when there are no batches.
    """
    totals: list[Tensor] = []
    count = 0
    with evaluating(model), torch.no_grad(), captured(probes(model)) as maps:
        for images, _, camera_ids in batches:
            maps.clear()
            model.base(images, camera_ids)
            parts = [class_attention(attention) for attention in maps]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
            count += len(images)
    if not count:
        raise DataError("no images to score tokens on; check --data")
    return _finite(with_removed(model, [total / count for total in totals]), "attention maps")


def score_tokens(model: TransReID, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Sums over batches of token scores (n_l - 1,) per prunable block, class token left out, in eval mode.

    `loss(model, images, labels, camera_ids)` gives the scalar whose gradient is taken at the attention maps. GateError when a score
    is not finite, DataError when there are no batches.
    """
    found = _gradient_scores(
        model, batches, loss, probes(model), lambda maps, gradient: token_batch_scores(maps, gradient)[1:]
    )
    return _finite(found, "token scores")


def score_neurons(model: TransReID, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Sums over batches of MLP neuron scores (hidden_l,) per prunable block, in eval mode; `loss` and errors as in score_tokens."""
    activations = [block.mlp.act for block in present(model)]
    return _finite(_gradient_scores(model, batches, loss, activations, neuron_scores), "neuron scores")


def score_neuron_magnitudes(model: TransReID) -> list[Tensor]:
    """2-norms (hidden_l,) of the MLP neurons' weights per prunable block; needs no images."""
    with torch.no_grad():
        mlps = [block.mlp for block in present(model)]
        found = [neuron_magnitudes(mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight) for mlp in mlps]
        return with_removed(model, found)


def features_of(model: TransReID, batches: Iterable[Batch]) -> Tensor:
    """(N, dim) L2-normalised features of all batches in eval mode."""
    with evaluating(model), torch.inference_mode():
        return torch.cat([F.normalize(model(images, rows).float(), dim=1) for images, _, rows in batches])


def score_blocks(model: TransReID, batches: Sequence[Batch]) -> list[float]:
    """What removing each prunable block alone does to the features: the mean of 1 - cosine; infinity where it is removed already.

    GateError when features are not finite, DataError when there are no batches.
    """
    if not batches:
        raise DataError("no images to score blocks on; check --data")
    blocks = model.architecture.blocks[: model.architecture.prunable]
    whole = _finite([features_of(model, batches)], "features")[0]
    return [
        float("inf")
        if block.removed
        else float((1 - (features_of(remove_blocks(model, [index]), batches) * whole).sum(dim=1)).mean())
        for index, block in enumerate(blocks)
    ]


def _gradient_scores(
    model: TransReID,
    batches: Iterable[Batch],
    loss: Loss,
    modules: Sequence[nn.Module],
    score: Callable[[Tensor, Tensor], Tensor],
) -> list[Tensor]:
    """Sums over batches of `score(output, gradient)` of what `modules`, one per present block, give."""
    totals: list[Tensor] = []
    with evaluating(model), torch.enable_grad(), captured(modules) as maps:
        for images, labels, camera_ids in batches:
            maps.clear()
            value = loss(model, images, labels, camera_ids)
            # only the maps' gradients are asked for: no parameter gradient is computed or accumulated
            gradients = torch.autograd.grad(value, maps)
            parts = [score(a.detach(), g) for a, g in zip(maps, gradients)]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
    if not totals:
        raise DataError("no images to score on; check --data")
    return with_removed(model, totals)


def _finite(values: list[Tensor], what: str) -> list[Tensor]:
    for index, value in enumerate(values):
        if not bool(torch.isfinite(value).all()):
            raise GateError(f"{what} of block {index} are not finite; check the weights and the images")
    return values
