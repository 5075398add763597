"""Training losses, as pure functions of features, logits and labels. Imports no data set and no optimiser.

In this module, a head is one output feature together with its classifier, not an attention head. Heads are ordered as in
prune.model.transreid: the global head first, then the local heads (none without the JPM). A loss over all heads is one half of the
global head's loss plus one half of the mean loss of the local heads, as in the published code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from prune.model.transreid import TransReID
from runtime.errors import ConfigError


def balanced(values: Sequence[Tensor]) -> Tensor:
    """Return half the first value plus half the mean of the others. A single value is returned unchanged."""
    if len(values) == 1:
        return values[0]
    return 0.5 * values[0] + 0.5 * torch.stack(list(values[1:])).mean(dim=0)


def identity_loss(logits: Sequence[Tensor], labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each head's (B, identities) logits against labels (B,), combined by `balanced`."""
    return balanced([F.cross_entropy(head.float(), labels, label_smoothing=smoothing) for head in logits])


def distances(features: Tensor) -> Tensor:
    """Return the Euclidean distances (B, B) between the rows of `features` (B, D); their squares are clamped to at least 1e-12."""
    squares = features.square().sum(dim=1)
    square = squares[:, None] + squares[None] - 2 * features @ features.T
    # The gradient of the square root is infinite at zero, which is the distance on the diagonal and of equal images.
    return square.clamp_min(1e-12).sqrt()


def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float | None = None) -> Tensor:
    """Return the mean over anchors of the triplet loss with the farthest positive and the nearest negative.

    `features` (B, D) are taken before the neck and are not normalised; `labels` is (B,). A `margin` of None is the soft
    margin log(1 + exp(d_positive - d_negative)). An anchor without a negative adds zero. Source: Hermans et al., "In Defense
    of the Triplet Loss", 2017, eq. 5.
    """
    with torch.autocast(features.device.type, enabled=False):
        # In half precision, the difference of large squares would lose a small distance.
        distance = distances(features.float())
        same = labels[:, None] == labels[None]
        farthest = distance.masked_fill(~same, -torch.inf).amax(dim=1)
        nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
        gap = farthest - nearest
        return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def triplet_loss(parts: Sequence[Tensor], labels: Tensor, *, margin: float | None = None) -> Tensor:
    """Return `batch_hard_triplet` of each head's features (B, D), combined by `balanced`; a `margin` of None is the soft margin."""
    return balanced([batch_hard_triplet(part, labels, margin=margin) for part in parts])


def supervised_contrastive(features: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the supervised contrastive loss, a mean over the anchors that have a positive.

    The loss of an anchor is the mean over its positives of -log softmax(cosine / temperature), where the softmax runs over
    all other images of the batch. `features` (B, D) are taken before the neck; `labels` is (B,). An anchor without a
    positive is left out of the mean. Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2.
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
    """Return the supervised contrastive loss of each head's features (B, D), combined by `balanced`."""
    return balanced([supervised_contrastive(part, labels, temperature=temperature) for part in parts])


def distill_soft(student: Sequence[Tensor], teacher: Sequence[Tensor], *, temperature: float) -> Tensor:
    """Return the mean over heads of KL(teacher || student) at `temperature`, times temperature squared.

    `student` and `teacher` have the logits (B, identities) of each head. The divergence of each head is averaged over images and
    identities, as in the published code.
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
    """Return the cross-entropy of the student's global logits against the teacher's best identity; both logits are (B, identities)."""
    return F.cross_entropy(student.float(), teacher.argmax(dim=1))


def distill_features(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return 1 - cosine of the student's and the teacher's features, averaged over heads and images.

    `student` and `teacher` have the features (B, D) of each head, before the necks.
    """
    parts = [
        1 - F.cosine_similarity(ours.float(), theirs.float(), dim=1).mean()
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(parts).mean()


def check_labels(model: TransReID, labels: Tensor) -> None:
    """Raise ConfigError when a label of `labels` (B,) has no row in the model's classifier."""
    if (needed := int(labels.max()) + 1) > model.architecture.identities:
        raise ConfigError(
            f"the model's classifier has {model.architecture.identities} identities, but the training data has at "
            f"least {needed}; use the data set that the model was trained on, or train the model again"
        )


def training_loss(model: TransReID, images: Tensor, labels: Tensor, camera_rows: Tensor | None) -> Tensor:
    """Return the identity loss plus the soft-margin triplet loss of a batch, a scalar, for the gradients of token and neuron scores.

    `images` is (B, 3, H, W) normalised float32, `labels` (B,) 0-based and `camera_rows` (B,) or None. Raises ConfigError
    when the model's classifier has fewer identities than the labels need.
    """
    check_labels(model, labels)
    parts = model.parts(images, camera_rows)
    return identity_loss(model.logits(parts), labels) + triplet_loss(model.compared(parts), labels)
