"""Prepare the training images and batches for scoring, and choose the loss by whether the classifier was trained on these people."""

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
    """Return the soft-margin triplet loss of a batch, a scalar, for scoring a model whose classifier was trained on other people.

    `images` is (B, 3, H, W) normalised float32, `labels` (B,), and `camera_ids` (B,) rows of the camera table or None.
    """
    return triplet_loss(model.compared(model.parts(images, camera_ids)), labels)


def scoring_loss(model: TransReID, identities: int, batches: Batches) -> tuple[Loss, str]:
    """Choose the loss whose gradient scores the tokens and neurons; return (the loss function, the reason for the choice in words).

    `identities` is the number of people in the training set. If the classifier has one row for each of them, and predicts the right
    person for at least half of the images in the first batch, it was trained on them, and `training_loss` is chosen; otherwise
    `triplet_only` is chosen. The number of rows alone proves nothing: published Duke checkpoints number the people in an order that
    depends on the machine of their training.
    """
    if model.architecture.identities != identities:
        return (
            triplet_only,
            f"triplet: the classifier has {model.architecture.identities} identities, but the data has {identities}",
        )
    images, labels, camera_rows = next(iter(batches()))
    with torch.no_grad():
        accuracy = (
            (model.logits(model.parts(images, camera_rows))[0].argmax(dim=1) == labels).float().mean().item()
        )
    if accuracy < 0.5:
        return triplet_only, f"triplet: the classifier is right on only {accuracy:.0%} of a training batch"
    return (
        training_loss,
        f"identity and triplet: the classifier is right on {accuracy:.0%} of a training batch",
    )


def training_items(dataset: Dataset, trained_on: str | None) -> tuple[Item, ...]:
    """Return the training images of `dataset`, with their camera ids if the model was trained on it, and otherwise with -1 (unknown).

    `trained_on` is the name of the data set that the model was trained on, or None if it is not known.
    """
    if dataset_name(dataset.layout, count_warnings(dataset)) == trained_on:
        return dataset.train
    return tuple(dataclasses.replace(item, camid=-1) for item in dataset.train)


def batch_source(items: Sequence[Item], spec: InputSpec, config: PruneConfig, device: str) -> Batches:
    """Return a function without arguments that returns a new iterator over the scoring batches of `items`, on `device`.

    `spec` is the input of the torch model (float-nchw). The size, the number and the seed of the batches are those of `config`.
    """

    def batches() -> Iterator[Batch]:
        cpu_batches = scoring_batches(
            items,
            spec,
            identities=config.identities,
            images=config.images,
            batches=config.batches,
            seed=config.seed,
        )
        for images, labels, camera_rows in cpu_batches:
            device_rows = None if camera_rows is None else camera_rows.to(device)
            yield images.to(device), labels.to(device), device_rows

    return batches


def fit_classifier(
    model: TransReID, items: Sequence[Item], spec: InputSpec, batches: Batches, device: str
) -> tuple[TransReID, Loss, str]:
    """Put the classifier rows in the order of the people in `items`; return (the model, the scoring loss, the reason for the loss).

    If `scoring_loss` finds that the classifier already has this order, the model is returned unchanged with the training loss.
    Otherwise images of each person vote for the row of the identity that the classifiers predict for them, and each person gets a
    row of its own (see `row_votes`). If most images voted for the row that their person got (see `RowVotes.accepted`), the classifier
    was trained on these people: the result is a model with these rows, in the order of the people's labels, and the training loss.
    If not, or if there are fewer rows than people, the model is returned unchanged with the loss `triplet_only`.
    """
    identities = len(label_map(items))
    loss, reason = scoring_loss(model, identities, batches)
    if loss is training_loss or model.architecture.identities < identities:
        return model, loss, reason
    votes = row_votes(model, voting_batches(items, spec, device), identities)
    if not votes.accepted:
        return model, loss, f"{reason}, and the vote of the images for its rows failed: {votes}"
    return (
        with_classifier_rows(model, votes.rows),
        training_loss,
        f"identity and triplet: classifier rows found by vote: {votes}",
    )
