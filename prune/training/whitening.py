"""Compute, in closed form, the linear layer `skip` from the convolutional stem of a hybrid model to its descriptor.

The layer whitens the stem's features: between the images of one person, they then vary equally in all directions. It adds them to
the ViT's descriptor in the directions that this descriptor uses least. A dot product of two such sums is therefore nearly the dot
product of the ViT's descriptors plus that of the whitened features, as if the two vectors were concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from prune.model.families.table import PARTS
from prune.model.stem import Stem
from prune.model.transreid import TransReID
from prune.scoring.model_scores import Batch
from prune.training.data import prefetched
from runtime.console import progress_bar


def within_whitening(features: Tensor, labels: Tensor, *, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Return (mean (C,), symmetric matrix (C, C)), both float64, that whiten the variation of features within a person.

    `features` is (N, C), `labels` (N,) are 0-based. The whitened features are (features - mean) @ matrix: between the images of one
    person, they vary equally in all directions. This is exact if `shrinkage` is 0. A `shrinkage` up to 1 moves the scatter matrix
    towards a multiple of the identity matrix (Friedman, "Regularized Discriminant Analysis", 1989, eq. 18).
    """
    features = features.double()
    mean = features.mean(dim=0)
    people = int(labels.max()) + 1
    sums = torch.zeros(people, features.shape[1], dtype=torch.float64).index_add_(0, labels, features)
    counts = torch.bincount(labels, minlength=people).clamp_min(1)
    residuals = features - (sums / counts[:, None])[labels]
    scatter = residuals.T @ residuals / len(features)
    size = len(scatter)
    target = torch.eye(size, dtype=torch.float64) * scatter.trace() / size
    values, vectors = torch.linalg.eigh((1 - shrinkage) * scatter + shrinkage * target)
    return mean, vectors @ torch.diag(values.clamp_min(1e-12).rsqrt()) @ vectors.T


def least_used_directions(descriptors: Tensor, count: int) -> Tensor:
    """Return the directions in which `descriptors` (N, D) are smallest, as `count` orthonormal columns (D, count), float64.

    Of all such sets of columns, these have the smallest sum of the squared projections of the descriptors, which are not centred.
    """
    descriptors = descriptors.double()
    _, vectors = torch.linalg.eigh(descriptors.T @ descriptors)  # ascending
    return vectors[:, :count]


def skip_inputs(
    model: TransReID, batches_of_epoch: Callable[[int], Sequence[Batch]], images: int, *, workers: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inputs of `fit_skip`: (pooled (N, stripes x C), descriptors (N, D), labels (N,)) of N training crops.

    The crops are those of the first batches that together have at least `images` crops. `batches_of_epoch(n)` returns the augmented
    batches of epoch n, which `workers` threads prepare. The model runs in eval mode. Its layer `skip` is set to zero first, because
    `fit_skip` needs descriptors without it.
    """
    stem: Stem = model.base.stem
    for parameter in stem.skip.parameters():
        parameter.data.zero_()
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    count, epoch = 0, 0
    model.eval()
    with torch.inference_mode(), progress_bar() as bar:
        task = bar.add_task("stem features", total=images)
        while count < images:
            for crops, labels, camera_rows in prefetched(batches_of_epoch(epoch), 0, workers=workers):
                pooled = stem.pooled(stem.maps(crops).flatten(2).transpose(1, 2))
                rows.append((pooled, model(crops, camera_rows), labels))
                count += len(crops)
                bar.update(task, completed=min(count, images))
                if count >= images:
                    break
            epoch += 1
    pooled, descriptors, labels = (torch.cat(column).clone() for column in zip(*rows))
    return pooled, descriptors, labels


def fit_skip(
    model: TransReID,
    pooled: Tensor,
    descriptors: Tensor,
    labels: Tensor,
    *,
    shrinkage: float,
    strength: float,
) -> None:
    """Set the weight and the bias of the stem's `skip` layer in place.

    For N images with the 0-based `labels` (N,), `pooled` (N, stripes x C) holds the stem's C features averaged over each horizontal
    stripe. `descriptors` (N, D) are the descriptors of the model without `skip`, not normalised. `shrinkage` is that of
    `within_whitening`. The mean 2-norm of what `skip` adds to the descriptor is `strength` times the mean 2-norm of the descriptors.

    `skip` adds to at most D - W / 2 of the D directions of a descriptor, where W is the width of the ViT. If `pooled` has more
    columns, only the D - W / 2 largest principal components of the whitened features are added.
    """
    mean, whitening = within_whitening(pooled, labels, shrinkage=shrinkage)
    white = (pooled.double() - mean) @ whitening
    room = min(white.shape[1], descriptors.shape[1] - model.architecture.vit.width // 2)
    principal = torch.linalg.eigh(white.T @ white)[1][:, -room:]  # ascending
    directions = least_used_directions(descriptors, room)
    lengths = descriptors.double().norm(dim=1).mean() / (white @ principal).norm(dim=1).mean()
    matrix = strength * lengths * directions @ principal.T @ whitening
    skip = model.base.stem.skip
    skip.weight.data = matrix.float()
    skip.bias.data = (-matrix @ mean).float()
    if model.architecture.jpm:
        # The descriptor divides the local features by their number.
        skip.weight.data[model.architecture.vit.width :] *= PARTS
        skip.bias.data[model.architecture.vit.width :] *= PARTS
