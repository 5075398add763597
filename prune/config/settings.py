"""The sections of a configuration file: one frozen dataclass per section, one line per key. Reads no files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from prune.config.limits import one_of, within
from runtime.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    """The training set: `layout` (None: guessed), folder `root` (None: give --data). Other sets get the mean camera embedding."""

    layout: str | None = None
    root: str | None = None


@dataclass(frozen=True)
class HeadConfig:
    """Head pruning: remove a `fraction` of the unpruned model's heads, or `count` heads, in `rounds` rounds.

    Every block keeps at least `floor` heads, and the number kept per block is rounded up to a multiple of `multiple`. `kept`, a
    number of heads per prunable block, replaces `fraction` and `count`; the heads are then ranked within each block. `by` is the
    criterion: entropy (AMG, removes the highest), magnitude (removes the lowest weights) or random (drawn from `prune.seed`). Two
    keys act on AMG's criterion only. `entropy` is `mean_map` (as published, the entropy of the mean attention map) or `per_image`
    (the mean of the images' entropies). The entropies of a block are multiplied by 1 + `layer_weight` x (the number of earlier
    blocks with more than one head).
    """

    fraction: float = 0.0
    count: int | None = None
    kept: tuple[int, ...] = ()
    rounds: int = 1
    floor: int = 1
    multiple: int = 1
    layer_weight: float = 0.005
    entropy: str = "mean_map"
    by: str = "entropy"

    def __post_init__(self) -> None:
        one_of("heads.by", self.by, ("entropy", "magnitude", "random"))
        one_of("entropy", self.entropy, ("mean_map", "per_image"))
        _check_cut(self)


@dataclass(frozen=True)
class TokenConfig:
    """Token pruning: remove a `fraction` of the unpruned model's patch tokens, or `count` tokens, in `rounds` rounds.

    `kept`, a number of tokens per prunable block, replaces `fraction` and `count`. Every block keeps at least `floor` tokens, and
    the number kept is rounded up to a multiple of `multiple`. `kept` and `floor` include the class token. The lowest tokens are
    removed `by` importance (AMG), class_attention (the class token's attention to them) or random (drawn from `prune.seed`). The
    importances in block l, counted from 0, are multiplied by 1 - l x `layer_weight`.
    """

    fraction: float = 0.0
    count: int | None = None
    kept: tuple[int, ...] = ()
    rounds: int = 1
    floor: int = 8
    multiple: int = 1
    layer_weight: float = 0.015
    by: str = "importance"

    def __post_init__(self) -> None:
        one_of("tokens.by", self.by, ("importance", "class_attention", "random"))
        _check_cut(self)


@dataclass(frozen=True)
class MlpConfig:
    """MLP pruning: remove the fraction `pruned` of the unpruned model's MLP neurons.

    `within` is `model` (the neurons of all blocks are ranked together) or `block` (each block is ranked alone, and all lose about
    the same number). `kept`, a number of neurons per prunable block, replaces `pruned`. Every block keeps at least `floor` neurons,
    and the number kept is rounded up to a multiple of `multiple`. The lowest neurons are removed `by` taylor (the change of the loss
    without the neuron) or magnitude (of its weights, divided by the mean of its block).
    """

    pruned: float = 0.0
    within: str = "model"
    floor: int = 8
    multiple: int = 8
    by: str = "taylor"
    kept: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        one_of("mlp.within", self.within, ("model", "block"))
        within("mlp.floor", self.floor, 1, None)
        one_of("mlp.by", self.by, ("taylor", "magnitude"))
        within("mlp.pruned", self.pruned, 0, 0.99)
        within("mlp.multiple", self.multiple, 1, None)

    @property
    def cuts(self) -> bool:
        """Whether this section removes any neurons."""
        return self.pruned > 0 or bool(self.kept)


@dataclass(frozen=True)
class BlocksConfig:
    """Block pruning: `removed` is the number of whole blocks to remove, or a list of their 0-based numbers.

    Given a number, blocks are removed one at a time; each time it is the block whose removal changes the features least.
    """

    removed: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        if isinstance(self.removed, int):
            within("blocks.removed", self.removed, 0, None)


@dataclass(frozen=True)
class PruneConfig:
    """Pruning: what is removed, in which order, and on which crops the scores are computed.

    `order` is heads_first, tokens_first or both (heads and tokens scored on the same model). `mode` is `bypass` (a pruned token skips
    the whole block) or `kv` (it is only left out of the keys and values). MLP neurons and whole blocks are removed in the first
    round, together with the heads and tokens of that round. Scores come from `batches` batches of `identities` x `images` training
    crops (0 batches: one epoch). `seed` draws these crops, and also what a random criterion removes.
    """

    order: str = "heads_first"
    mode: str = "bypass"
    heads: HeadConfig = field(default_factory=HeadConfig)
    tokens: TokenConfig = field(default_factory=TokenConfig)
    mlp: MlpConfig = field(default_factory=MlpConfig)
    blocks: BlocksConfig = field(default_factory=BlocksConfig)
    batches: int = 0
    identities: int = 16
    images: int = 4
    seed: int = 1234

    def __post_init__(self) -> None:
        one_of("order", self.order, ("heads_first", "tokens_first", "both"))
        one_of("mode", self.mode, ("bypass", "kv"))
        # As in training, the triplet loss needs a second identity.
        within("identities", self.identities, 2, None)
        within("images", self.images, 1, None)
        within("batches", self.batches, 0, None)


@dataclass(frozen=True)
class DistillConfig:
    """Distillation from the unpruned teacher: a loss with the weight `alpha`, added to the other losses.

    `type` is "none", "soft" (the logits of all classifiers, at `temperature`), "hard" (the best identity of the teacher's global
    classifier) or "features" (1 - cosine of the features; a loss of this project, also for a teacher trained on other people).
    """

    type: str = "none"
    alpha: float = 1.0
    temperature: float = 10.0

    def __post_init__(self) -> None:
        one_of("type", self.type, ("none", "soft", "hard", "features"))
        within("alpha", self.alpha, 0, None)
        within("temperature", self.temperature, 1e-3, None)


@dataclass(frozen=True)
class TrainConfig:
    """The training of a model and the fine-tuning of a pruned model; configs/README.md has a line for each key.

    A batch holds `identities` x `images` crops. The learning rate rises linearly from `lr` x `warmup_factor` to `lr` during the
    warm-up and then falls along a cosine to `lr` x `lr_min_factor`; `schedule: constant` keeps it at `lr`. A hybrid's stem has
    `stem_lr_factor` x this rate. The loss is `identity_weight` x identity loss + `metric_weight` x metric loss. `metric` is triplet
    (a null `margin` is the soft margin) or contrastive (supervised, at `temperature`). With `average` > 0 the result is a running
    average of the weights. `background`, `tone` and `jpeg` are probabilities of augmentations; `colour`, `sharpness` and `warp` are
    strengths, all off at 0. Fine-tuning lasts `fine_epochs` between pruning rounds, at a constant rate, and `final_epochs` after
    the last round.
    """

    optimizer: str = "sgd"
    lr: float = 0.008
    momentum: float = 0.9
    weight_decay: float = 1e-4
    weight_decay_bias: float = 1e-4
    bias_lr_factor: float = 2.0
    stem_lr_factor: float = 0.0
    schedule: str = "cosine"
    epochs: int = 120
    warmup_epochs: int = 5
    warmup_factor: float = 0.01
    lr_min_factor: float = 0.002
    identities: int = 16
    images: int = 4
    flip: float = 0.5
    pad: int = 10
    erasing: float = 0.5
    background: float = 0.0
    colour: float = 0.0
    tone: float = 0.0
    sharpness: float = 0.0
    jpeg: float = 0.0
    warp: float = 0.0
    label_smoothing: float = 0.0
    identity_weight: float = 1.0
    metric_weight: float = 1.0
    metric: str = "triplet"
    margin: float | None = None
    temperature: float = 0.1
    average: float = 0.0
    distill: DistillConfig = field(default_factory=DistillConfig)
    fine_epochs: int = 2
    final_epochs: int = 20
    precision: str = "fp32"
    seed: int = 1234
    workers: int = 2
    cache_mib: int = 1024
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, ("sgd", "adam", "adamw"))
        one_of("schedule", self.schedule, ("cosine", "constant"))
        one_of("precision", self.precision, ("fp32", "bf16", "fp16"))
        one_of("metric", self.metric, ("triplet", "contrastive"))
        within("temperature", self.temperature, 1e-3, None)
        within("average", self.average, 0, 0.99999)
        for name in ("lr", "images", "workers"):
            within(name, getattr(self, name), 1e-12 if name == "lr" else 1, None)
        # A batch of one identity has no negatives, and the batch-norm neck has no variance over one image.
        within("identities", self.identities, 2, None)
        for name in ("epochs", "fine_epochs", "final_epochs", "warmup_epochs"):
            within(name, getattr(self, name), 0, None)
        for name in ("weight_decay", "weight_decay_bias", "bias_lr_factor", "stem_lr_factor"):
            within(name, getattr(self, name), 0, None)
        for name in ("identity_weight", "metric_weight", "pad", "cache_mib", "checkpoint_steps"):
            within(name, getattr(self, name), 0, None)
        shares = "flip erasing background tone jpeg label_smoothing warmup_factor lr_min_factor"
        for name in shares.split():
            within(name, getattr(self, name), 0, 1)
        for name, high in (("colour", 2), ("sharpness", 2), ("warp", 0.6)):
            within(name, getattr(self, name), 0, high)

    def for_unknown_identities(self) -> TrainConfig:
        """Return the settings for people the teacher was not trained on: no distillation, unless its type is "features"."""
        if self.distill.type == "features":
            return self
        return dataclasses.replace(self, distill=dataclasses.replace(self.distill, type="none"))

    def for_rounds(self) -> TrainConfig:
        """Return the settings of the fine-tuning between two pruning rounds: `fine_epochs` at a constant learning rate."""
        return dataclasses.replace(self, epochs=self.fine_epochs, schedule="constant", warmup_epochs=0)

    def for_final(self) -> TrainConfig:
        """Return the settings of the fine-tuning after the last round: `final_epochs` on the whole schedule."""
        return dataclasses.replace(self, epochs=self.final_epochs)


def _check_cut(cut: HeadConfig | TokenConfig) -> None:
    for name in ("rounds", "floor", "multiple"):
        within(name, getattr(cut, name), 1, None)
    if cut.count is not None:
        within("count", cut.count, 0, None)
    if cut.kept and (cut.rounds > 1 or cut.multiple > 1):
        raise ConfigError("kept fixes how many each block keeps; set rounds=1 and multiple=1, or remove kept")
    if cut.multiple > 1 and cut.rounds > 1:
        raise ConfigError(
            f"multiple {cut.multiple} with rounds {cut.rounds}: rounding up to multiples would undo a round's small cut; set rounds=1"
        )
