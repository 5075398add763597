"""Compute the scores of a model's heads, tokens, neurons and blocks over batches, without changing the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.model.block import Block
from prune.model.surgery import remove_blocks
from prune.model.transreid import TransReID
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


def present_blocks(model: TransReID) -> list[Block]:
    """Return the modules of the prunable blocks that are not removed, in their order."""
    return [block for block in model.base.blocks[: model.architecture.prunable] if isinstance(block, Block)]


def padded_to_all_blocks(model: TransReID, values: Sequence[Tensor]) -> list[Tensor]:
    """Return one tensor per prunable block: `values`, one for each present block, and an empty tensor (0,) for each removed block."""
    present, empty = iter(values), torch.empty(0)
    blocks = model.architecture.blocks[: model.architecture.prunable]
    return [empty if block.removed else next(present) for block in blocks]


def attention_probes(model: TransReID) -> list[nn.Module]:
    """Return the modules that output the attention maps (B, heads, queries, keys) of the present prunable blocks."""
    return [block.attn.probe for block in present_blocks(model)]


@contextmanager
def captured_outputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Yield a list; every forward pass inside the `with` block appends the outputs of `modules` to it, in the order of execution."""
    outputs: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        for module in modules
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def eval_mode(model: TransReID) -> Iterator[None]:
    """Put the model in eval mode (no drop-path, frozen batch statistics) inside the `with` block, and restore its mode afterwards."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def score_heads(model: TransReID, batches: Iterable[Batch], *, entropy: str = "mean_map") -> list[Tensor]:
    """Return the unweighted head entropies in bits, (h_l,) per prunable block, over the images of all batches in eval mode.

    `entropy` is mean_map (the entropy of the mean attention map, as published) or per_image (the mean of the entropies of the
    images, which keeps heads that attend to a different place in every image). Raises GateError when a map is not finite, and
    DataError when there are no batches.
    """
    totals: list[Tensor] = []
    count = 0
    with eval_mode(model), torch.no_grad(), captured_outputs(attention_probes(model)) as maps:
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
        raise DataError("there are no images to score heads on; check --data")
    means = [total / count for total in totals]
    entropies = means if entropy == "per_image" else [attention_entropy(mean) for mean in means]
    return _check_finite(padded_to_all_blocks(model, entropies), "attention maps")


def score_magnitudes(model: TransReID) -> list[Tensor]:
    """Return the 2-norms of the heads' weights (see `head_magnitudes`), (h_l,) per prunable block; this needs no images."""
    with torch.no_grad():
        magnitudes = [
            head_magnitudes(
                block.attn.qkv.weight,
                block.attn.qkv.bias,
                block.attn.proj.weight,
                head_dim=block.attn.head_dim,
            )
            for block in present_blocks(model)
        ]
        return padded_to_all_blocks(model, magnitudes)


def score_class_attention(model: TransReID, batches: Iterable[Batch]) -> list[Tensor]:
    """Return the mean attention of the class token to each patch token, one tensor per prunable block, in eval mode.

    The mean is over heads and images. Raises GateError when a map is not finite, and DataError when there are no batches.
    """
    totals: list[Tensor] = []
    count = 0
    with eval_mode(model), torch.no_grad(), captured_outputs(attention_probes(model)) as maps:
        for images, _, camera_ids in batches:
            maps.clear()
            model.base(images, camera_ids)
            parts = [class_attention(attention, leading=model.architecture.leading) for attention in maps]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
            count += len(images)
    if not count:
        raise DataError("there are no images to score tokens on; check --data")
    return _check_finite(padded_to_all_blocks(model, [total / count for total in totals]), "attention maps")


def score_tokens(model: TransReID, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Return the scores of the patch tokens, one tensor (patch tokens of the block,) per prunable block.

    The scores of a batch are those of `token_batch_scores`; they are summed over the batches.

    The model is in eval mode. `loss(model, images, labels, camera_ids)` returns the scalar whose gradient with respect to the
    attention maps is taken. Raises GateError when a score is not finite, and DataError when there are no batches.
    """
    scores = _gradient_scores(
        model,
        batches,
        loss,
        attention_probes(model),
        lambda maps, gradient: token_batch_scores(maps, gradient)[model.architecture.leading :],
    )
    return _check_finite(scores, "token scores")


def score_neurons(model: TransReID, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Return the scores of the MLP neurons (function `neuron_scores`) summed over batches, (hidden_l,) per prunable block.

    `loss`, the eval mode and the errors are as in `score_tokens`.
    """
    activations = [block.mlp.act for block in present_blocks(model)]
    return _check_finite(_gradient_scores(model, batches, loss, activations, neuron_scores), "neuron scores")


def score_neuron_magnitudes(model: TransReID) -> list[Tensor]:
    """Return the 2-norms of the MLP neurons' weights (see `neuron_magnitudes`), (hidden_l,) per prunable block; needs no images."""
    with torch.no_grad():
        mlps = [block.mlp for block in present_blocks(model)]
        magnitudes = [neuron_magnitudes(mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight) for mlp in mlps]
        return padded_to_all_blocks(model, magnitudes)


def features_of(model: TransReID, batches: Iterable[Batch]) -> Tensor:
    """Return the L2-normalised features (N, dim) of the images of all batches, in eval mode."""
    with eval_mode(model), torch.inference_mode():
        return torch.cat(
            [F.normalize(model(images, camera_rows).float(), dim=1) for images, _, camera_rows in batches]
        )


def score_blocks(model: TransReID, batches: Sequence[Batch]) -> list[float]:
    """Return one number per prunable block: the feature drift of the model when this block alone is removed.

    The feature drift is the mean over images of 1 - the cosine between the features before and after. It is infinite for a block
    that is already removed. Raises GateError when features are not finite, and DataError when there are no batches.
    """
    if not batches:
        raise DataError("there are no images to score blocks on; check --data")
    blocks = model.architecture.blocks[: model.architecture.prunable]
    features = features_of(model, batches)
    if not bool(torch.isfinite(features).all()):
        raise GateError(
            "the features of the model are not finite, so its blocks cannot be scored; prune a model with other --weights"
        )
    return [
        float("inf")
        if block.removed
        else float((1 - (features_of(remove_blocks(model, [index]), batches) * features).sum(dim=1)).mean())
        for index, block in enumerate(blocks)
    ]


def _gradient_scores(
    model: TransReID,
    batches: Iterable[Batch],
    loss: Loss,
    modules: Sequence[nn.Module],
    score: Callable[[Tensor, Tensor], Tensor],
) -> list[Tensor]:
    """Return, per prunable block, `score(output, gradient of the loss)` summed over batches.

    `modules` has one module for each block that is not removed; its outputs are scored.
    """
    totals: list[Tensor] = []
    with eval_mode(model), torch.enable_grad(), captured_outputs(modules) as outputs:
        for images, labels, camera_ids in batches:
            outputs.clear()
            value = loss(model, images, labels, camera_ids)
            # Only the gradients of the outputs are computed, so that none is accumulated in a parameter.
            gradients = torch.autograd.grad(value, outputs)
            parts = [score(output.detach(), gradient) for output, gradient in zip(outputs, gradients)]
            totals = [total + part for total, part in zip(totals, parts)] if totals else parts
    if not totals:
        raise DataError("there are no images to score on; check --data")
    return padded_to_all_blocks(model, totals)


def _check_finite(values: list[Tensor], what: str) -> list[Tensor]:
    for index, value in enumerate(values):
        if not bool(torch.isfinite(value).all()):
            raise GateError(
                f"the {what} of block {index} are not finite, so it cannot be pruned; prune a model with other --weights"
            )
    return values
