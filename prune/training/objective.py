"""What a training step minimises: a model with its losses, and what it hears of a teacher. Knows no data and no optimiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune.config.settings import TrainConfig
from prune.model.transreid import TransReID
from prune.training import losses

TERMS = ("loss", "identity", "metric", "distillation", "accuracy")


class Objective(nn.Module):
    """A model with its training loss: what several processes run, so that gradients are shared."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self, images: Tensor, labels: Tensor, camera_ids: Tensor | None, taught: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """(the loss to minimise, the detached values of TERMS (5,)); `taught` is what `teacher_targets` says."""
        config = self.config
        parts = self.model.parts(images, camera_ids)
        logits = self.model.logits(parts)
        identity = losses.identity_loss(logits, labels, smoothing=config.label_smoothing)
        if config.metric == "contrastive":
            metric = losses.contrastive_loss(parts, labels, temperature=config.temperature)
        else:
            metric = losses.triplet_loss(parts, labels, margin=config.margin)
        distillation = torch.zeros_like(identity)
        if taught is not None and config.distill.type == "soft":
            distillation = losses.distill_soft(logits, taught, temperature=config.distill.temperature)
        elif taught is not None and config.distill.type == "features":
            distillation = losses.distill_features(parts, taught)
        elif taught is not None:
            distillation = losses.distill_hard(logits[0], taught[0])
        loss = config.identity_weight * identity + config.metric_weight * metric
        loss = loss + config.distill.alpha * distillation
        accuracy = (logits[0].argmax(dim=1) == labels).float().mean()
        return loss, torch.stack([loss, identity, metric, distillation, accuracy]).detach()


def teacher_targets(
    teacher: TransReID, images: Tensor, rows: Tensor | None, config: TrainConfig
) -> list[Tensor]:
    """What a student is compared with, per head: the teacher's features (B, D), or its logits (B, identities)."""
    parts = teacher.parts(images, rows)
    return parts if config.distill.type == "features" else teacher.logits(parts)
