"""The training objective: a model with its losses, and the teacher's targets. Imports no data set and no optimiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune.config.settings import TrainConfig
from prune.model.transreid import TransReID
from prune.training import losses

TERMS = ("loss", "identity", "metric", "distillation", "accuracy")


class Objective(nn.Module):
    """A model together with its training loss, as one module.

    In training with several processes, the wrapper (DistributedDataParallel) averages the gradients only for calls of the module
    that it wraps, so the loss must be inside.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self, images: Tensor, labels: Tensor, camera_rows: Tensor | None, teacher: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Return (the loss to minimise, a detached tensor (5,)) of a batch.

        The five values have the names of TERMS: the loss again, the identity, metric and distillation losses before weighting, and the
        accuracy (0..1) of the global classifier. `teacher` comes from `teacher_targets`. If it is None, the distillation loss is 0.
        """
        config = self.config
        parts = self.model.parts(images, camera_rows)
        logits = self.model.logits(parts)
        identity = losses.identity_loss(logits, labels, smoothing=config.label_smoothing)
        if config.metric == "contrastive":
            metric = losses.contrastive_loss(
                self.model.compared(parts), labels, temperature=config.temperature
            )
        else:
            metric = losses.triplet_loss(self.model.compared(parts), labels, margin=config.margin)
        distillation = torch.zeros_like(identity)
        if teacher is not None and config.distill.type == "soft":
            distillation = losses.distill_soft(logits, teacher, temperature=config.distill.temperature)
        elif teacher is not None and config.distill.type == "features":
            distillation = losses.distill_features(parts, teacher)
        elif teacher is not None:
            distillation = losses.distill_hard(logits[0], teacher[0])
        loss = config.identity_weight * identity + config.metric_weight * metric
        loss = loss + config.distill.alpha * distillation
        accuracy = (logits[0].argmax(dim=1) == labels).float().mean()
        return loss, torch.stack([loss, identity, metric, distillation, accuracy]).detach()


def teacher_targets(
    teacher: TransReID, images: Tensor, camera_rows: Tensor | None, config: TrainConfig
) -> list[Tensor]:
    """Return the teacher's targets: a tensor for the global feature, then one for each local feature.

    The tensors are features (B, D) if `config.distill.type` is "features", and otherwise logits (B, identities).
    """
    parts = teacher.parts(images, camera_rows)
    return parts if config.distill.type == "features" else teacher.logits(parts)
