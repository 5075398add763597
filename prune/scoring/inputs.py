"""The training images, the batches and the loss that scores are computed with. Scores nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from prune.config.load import PruneConfig
from prune.model.transreid import TransReID
from prune.scoring.amg import Batches
from prune.scoring.run import Batch, Loss
from prune.training.classifiers import row_votes, voting_batches, with_classifier_rows
from prune.training.data import label_map, scoring_batches
from prune.training.losses import training_loss, triplet_loss
from runtime.datasets import Dataset, Item, count_warnings
from runtime.datasets.cameras import dataset_name
from runtime.spec import InputSpec


def triplet_only(model: TransReID, images: Tensor, labels: Tensor, camera_ids: Tensor | None) -> Tensor:
    """The soft-margin triplet loss alone: a scoring loss for a model whose classifier does not know these people."""
    return triplet_loss(model.parts(images, camera_ids), labels)


def scoring_loss(model: TransReID, identities: int, batches: Batches) -> tuple[Loss, str]:
    """(the loss whose gradient scores tokens, why): the training loss where the classifier knows these people, else its triplet part.

    Known means: as many identities, and right on most images of the first batch. Published Duke checkpoints number people in an
    order that depends on the machine they were trained on, so the count alone proves nothing.
    """
    if model.architecture.identities != identities:
        why = f"triplet: the classifier has {model.architecture.identities} identities, the data {identities}"
        return triplet_only, why
    images, labels, rows = next(iter(batches()))
    with torch.no_grad():
        right = (model.logits(model.parts(images, rows))[0].argmax(dim=1) == labels).float().mean().item()
    if right < 0.5:
        return triplet_only, f"triplet: the classifier is right on only {right:.0%} of a training batch"
    return training_loss, f"identity and triplet: the classifier is right on {right:.0%} of a training batch"


def training_items(dataset: Dataset, trained_on: str | None) -> tuple[Item, ...]:
    """The training images; on another data set than the model's own their cameras are unknown to it, and count as such."""
    if dataset_name(dataset.layout, count_warnings(dataset)) == trained_on:
        return dataset.train
    return tuple(dataclasses.replace(item, camid=-1) for item in dataset.train)


def scoring(items: Sequence[Item], spec: InputSpec, config: PruneConfig, device: str) -> Batches:
    """The scoring batches, afresh at every call, on the device."""

    def batches() -> Iterator[Batch]:
        made = scoring_batches(
            items,
            spec,
            identities=config.identities,
            images=config.images,
            batches=config.batches,
            seed=config.seed,
        )
        for images, labels, rows in made:
            yield images.to(device), labels.to(device), None if rows is None else rows.to(device)

    return batches


def fitting(
    model: TransReID, items: Sequence[Item], spec: InputSpec, batches: Batches, device: str
) -> tuple[TransReID, Loss, str]:
    """(the model with classifier rows in the order of these people, the loss that scores tokens, why that one).

    Where the classifier does not know them as they are numbered, their images vote for its rows; where that finds nobody either,
    the model stays as it is and the loss is `triplet_only`.
    """
    identities = len(label_map(items))
    loss, why = scoring_loss(model, identities, batches)
    if loss is training_loss or model.architecture.identities < identities:
        return model, loss, why
    found = row_votes(model, voting_batches(items, spec, device), identities)
    if not found.accepted:
        return model, loss, f"{why}, and no rows were found by vote: {found}"
    return (
        with_classifier_rows(model, found.rows),
        training_loss,
        f"identity and triplet: classifier rows found by vote: {found}",
    )
