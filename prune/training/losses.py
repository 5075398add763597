"""What training minimises, as pure functions of features, logits and labels. Knows no data and no optimiser.

Heads are ordered as in prune.model.transreid: the global one first, then the local ones (none without the JPM). The
weights are those of the published code: half for the global head, half for the mean of the local ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from prune.model.transreid import TransReID
from runtime.errors import ConfigError


def balanced(values: Sequence[Tensor]) -> Tensor:
    """Half the first value plus half the mean of the others; a single value as it is."""
    if len(values) == 1:
        return values[0]
    return 0.5 * values[0] + 0.5 * torch.stack(list(values[1:])).mean(dim=0)


def identity_loss(logits: Sequence[Tensor], labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each head's (B, identities) logits against labels (B,), balanced."""
    return balanced([F.cross_entropy(head.float(), labels, label_smoothing=smoothing) for head in logits])


def distances(features: Tensor) -> Tensor:
    """Euclidean distances (B, B) between the rows of (B, D); the squares are clamped to 1e-12 or more."""
    squares = features.square().sum(dim=1)
    square = squares[:, None] + squares[None] - 2 * features @ features.T
    # The root's gradient at zero is infinite: the diagonal, and two equal images, stand there.
    return square.clamp_min(1e-12).sqrt()


def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float | None = None) -> Tensor:
    """The mean over anchors of the loss of their farthest positive and nearest negative.

    features (B, D) before the neck, not normalised; labels (B,). `margin` None is the soft margin
    log(1 + exp(d_positive - d_negative)). An anchor without any negative costs nothing. Source: Hermans et
    al., "In Defense of the Triplet Loss", 2017, eq. 5.
    """
    with torch.autocast(features.device.type, enabled=False):
        # In half precision the subtraction of large squares loses the distance itself.
        distance = distances(features.float())
        same = labels[:, None] == labels[None]
        farthest = distance.masked_fill(~same, -torch.inf).amax(dim=1)
        nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
        gap = farthest - nearest
        return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def triplet_loss(parts: Sequence[Tensor], labels: Tensor, *, margin: float | None = None) -> Tensor:
    """Batch-hard triplet loss of each head's features (B, D), balanced."""
    return balanced([batch_hard_triplet(part, labels, margin=margin) for part in parts])


def supervised_contrastive(features: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Mean over anchors of the mean over their positives of -log softmax over all others of the cosine / temperature.

    features (B, D) before the neck; labels (B,). An anchor without a positive costs nothing. Source: Khosla et
    al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.float(), dim=1)
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        similar = (unit @ unit.T / temperature).masked_fill(~others, -torch.inf)
        positive = (labels[:, None] == labels[None]) & others
        share = -similar.log_softmax(dim=1).masked_fill(~positive, 0).sum(dim=1)
        counts = positive.sum(dim=1)
        return (share / counts.clamp_min(1)).sum() / (counts > 0).sum().clamp_min(1)


def contrastive_loss(parts: Sequence[Tensor], labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss of each head's features (B, D), balanced."""
    return balanced([supervised_contrastive(part, labels, temperature=temperature) for part in parts])


def distill_soft(student: Sequence[Tensor], teacher: Sequence[Tensor], *, temperature: float) -> Tensor:
    """Mean over heads of KL(teacher || student) at `temperature`, times temperature squared.

    Each head's divergence is averaged over images and identities, as the published code does.
    """
    parts = [
        F.kl_div(
            F.log_softmax(ours.float() / temperature, dim=1),
            F.log_softmax(theirs.float() / temperature, dim=1),
            reduction="sum",
            log_target=True,
        )
        * (temperature**2 / ours.numel())
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(parts).mean()


def distill_hard(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of the student's global logits (B, identities) against the teacher's best identity."""
    return F.cross_entropy(student.float(), teacher.argmax(dim=1))


def distill_features(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean over heads and images of 1 - cosine between the student's and the teacher's features (B, D) before the necks."""
    parts = [
        1 - F.cosine_similarity(ours.float(), theirs.float(), dim=1).mean()
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(parts).mean()


def check_labels(model: TransReID, labels: Tensor) -> None:
    """ConfigError when a label (B,) lies beyond the model's classifier."""
    if (needed := int(labels.max()) + 1) > model.shape.identities:
        raise ConfigError(
            f"the model's classifier knows {model.shape.identities} identities, the training data has at "
            f"least {needed}; use the data set that the model was trained on, or train it anew"
        )


def training_loss(model: TransReID, images: Tensor, labels: Tensor, camera_ids: Tensor | None) -> Tensor:
    """Identity plus soft-margin triplet loss of a batch, a scalar; the `loss` that prune.scoring.run asks for.

    images (B, 3, H, W) normalised float32, labels (B,) 0-based, camera rows (B,) or None. ConfigError when
    the model's classifier has fewer identities than the labels need.
    """
    check_labels(model, labels)
    parts = model.parts(images, camera_ids)
    return identity_loss(model.logits(parts), labels) + triplet_loss(parts, labels)
