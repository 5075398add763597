"""Prepare what scores are computed with: training images, batches, and a loss that fits the model's classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from prune.config.load import PruneConfig
from prune.model.transreid import TransReID
from prune.scoring.amg import Batches
from prune.scoring.model_scores import Batch, Loss
from prune.training.classifiers import row_votes, voting_batches, with_classifier_rows
from prune.training.data import label_map, scoring_batches
from prune.training.losses import training_loss, triplet_loss
from runtime.datasets import Dataset, Item, count_warnings
from runtime.datasets.cameras import dataset_name
from runtime.spec import InputSpec


def triplet_only(model: TransReID, images: Tensor, labels: Tensor, camera_ids: Tensor | None) -> Tensor:
    """Return the soft-margin triplet loss alone, the scoring loss of a model whose classifier was trained on other people."""
    return triplet_loss(model.parts(images, camera_ids), labels)


def scoring_loss(model: TransReID, identities: int, batches: Batches) -> tuple[Loss, str]:
    """Return (the loss whose gradient scores tokens, the reason for it).

    It is the training loss if the classifier knows the people in the batches, else only its triplet part. The classifier knows
    them if it has as many identities and is right on at least half of the first batch. The number alone proves nothing:
    published Duke checkpoints number people in an order that depends on the machine they were trained on.
    """
    if model.architecture.identities != identities:
        why = f"triplet: the classifier has {model.architecture.identities} identities, the data {identities}"
        return triplet_only, why
    images, labels, rows = next(iter(batches()))
    with torch.no_grad():
        accuracy = (model.logits(model.parts(images, rows))[0].argmax(dim=1) == labels).float().mean().item()
    if accuracy < 0.5:
        return triplet_only, f"triplet: the classifier is right on only {accuracy:.0%} of a training batch"
    return (
        training_loss,
        f"identity and triplet: the classifier is right on {accuracy:.0%} of a training batch",
    )


def training_items(dataset: Dataset, trained_on: str | None) -> tuple[Item, ...]:
    """Return the training images; camera ids are -1 (unknown) unless the model was trained on this data set."""
    if dataset_name(dataset.layout, count_warnings(dataset)) == trained_on:
        return dataset.train
    return tuple(dataclasses.replace(item, camid=-1) for item in dataset.train)


def batch_source(items: Sequence[Item], spec: InputSpec, config: PruneConfig, device: str) -> Batches:
    """Return a callable that iterates over the scoring batches on the device, anew at every call."""

    def batches() -> Iterator[Batch]:
        cpu_batches = scoring_batches(
            items,
            spec,
            identities=config.identities,
            images=config.images,
            batches=config.batches,
            seed=config.seed,
        )
        for images, labels, rows in cpu_batches:
            yield images.to(device), labels.to(device), None if rows is None else rows.to(device)

    return batches


def fit_classifier(
    model: TransReID, items: Sequence[Item], spec: InputSpec, batches: Batches, device: str
) -> tuple[TransReID, Loss, str]:
    """Fit the classifier to the people in `items`; return (the model, the loss that scores tokens, the reason for it).

    If the classifier does not know the people by their numbers, their images vote for its rows, and its rows are put in the
    order of the people. If the vote fails too, the model stays as it is and the loss is `triplet_only`.
    """
    identities = len(label_map(items))
    loss, why = scoring_loss(model, identities, batches)
    if loss is training_loss or model.architecture.identities < identities:
        return model, loss, why
    votes = row_votes(model, voting_batches(items, spec, device), identities)
    if not votes.accepted:
        return model, loss, f"{why}, and no rows were found by vote: {votes}"
    return (
        with_classifier_rows(model, votes.rows),
        training_loss,
        f"identity and triplet: classifier rows found by vote: {votes}",
    )
