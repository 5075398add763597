"""The optimiser and the learning-rate schedule of a TrainConfig."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from prune.config.settings import TrainConfig
from prune.model.stem import has_given_weights
from runtime.errors import ConfigError


def lr_scale(progress: float, config: TrainConfig) -> float:
    """Return the factor by which the learning rate is multiplied after `progress` epochs, a fractional number.

    The factor rises linearly from warmup_factor to 1 during the warm-up and then follows half a cosine from 1 to
    lr_min_factor at the end. With the schedule `constant` it stays at 1 after the warm-up.
    """
    if progress < config.warmup_epochs:
        return config.warmup_factor + (1 - config.warmup_factor) * progress / config.warmup_epochs
    if config.schedule == "constant":
        return 1.0
    share = min((progress - config.warmup_epochs) / (config.epochs - config.warmup_epochs), 1.0)
    return config.lr_min_factor + (1 - config.lr_min_factor) * 0.5 * (1 + math.cos(math.pi * share))


def build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return SGD, Adam or AdamW over all trainable parameters; biases have their own learning rate and weight decay.

    Parameters for whose names `has_given_weights` is true have `config.stem_lr_factor` times the learning rate of the others; with a
    factor of 0 they stay unchanged. Every parameter group holds `base_lr`, which `set_lr` scales. Raises ConfigError when the warm-up
    lasts for all epochs.
    """
    if config.schedule == "cosine" and config.warmup_epochs >= config.epochs:
        raise ConfigError(
            f"train.warmup_epochs {config.warmup_epochs} must be less than train.epochs {config.epochs}; lower it"
        )
    groups = []
    for in_stem in (False, True):
        for bias, factor, decay in (
            (False, 1.0, config.weight_decay),
            (True, config.bias_lr_factor, config.weight_decay_bias),
        ):
            values = [
                value
                for name, value in model.named_parameters()
                if value.requires_grad
                and name.endswith(".bias") == bias
                and has_given_weights(name) == in_stem
            ]
            lr = config.lr * factor * (config.stem_lr_factor if in_stem else 1.0)
            if values:
                groups.append({"params": values, "lr": lr, "base_lr": lr, "weight_decay": decay})
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer](groups)


def set_lr(optimiser: Optimizer, scale: float) -> None:
    """Set the learning rate of every parameter group to its base rate times `scale`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * scale
