"""Optimiser and learning rate from a TrainConfig; the schedule is a pure function of the epochs done."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from prune.config.settings import TrainConfig
from runtime.errors import ConfigError


def lr_scale(progress: float, config: TrainConfig) -> float:
    """What the learning rate is multiplied by after `progress` epochs (fractions count).

    Linear from warmup_factor to 1 over the warm-up, then half a cosine from 1 to lr_min_factor at the end.
    """
    if progress < config.warmup_epochs:
        return config.warmup_factor + (1 - config.warmup_factor) * progress / config.warmup_epochs
    if config.schedule == "constant":
        return 1.0
    share = min((progress - config.warmup_epochs) / (config.epochs - config.warmup_epochs), 1.0)
    return config.lr_min_factor + (1 - config.lr_min_factor) * 0.5 * (1 + math.cos(math.pi * share))


def build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """SGD, Adam or AdamW over everything that learns; biases have their own learning rate and weight decay.

    Every parameter group holds `base_lr`, which `set_lr` scales. ConfigError when the warm-up never ends.
    """
    if config.schedule == "cosine" and config.warmup_epochs >= config.epochs:
        raise ConfigError(
            f"train.warmup_epochs {config.warmup_epochs} leaves nothing of {config.epochs} epochs; lower it"
        )
    learning = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    groups = [
        {
            "params": [value for name, value in learning if name.endswith(".bias") == bias],
            "lr": config.lr * factor,
            "base_lr": config.lr * factor,
            "weight_decay": decay,
        }
        for bias, factor, decay in (
            (False, 1.0, config.weight_decay),
            (True, config.bias_lr_factor, config.weight_decay_bias),
        )
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer](groups)


def set_lr(optimiser: Optimizer, scale: float) -> None:
    """Give every parameter group its base learning rate times `scale`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * scale
