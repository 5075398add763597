"""What the commands that learn from a training set share: reading it, fitting the configuration to it, and recording both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from prune.config.load import Config
    from runtime.datasets import Dataset, Item
    from runtime.spec import InputSpec


@dataclass(frozen=True)
class TrainingSet:
    """A data set with training images only, the configuration with its number of identities, and the input of the model to train.

    `warnings` has a sentence for everything that differs from the published data set or was not read.
    """

    config: Config
    dataset: Dataset
    spec: InputSpec
    warnings: tuple[str, ...]


def training_set(config: Config, root: str | None, layout: str | None, *, config_path: str) -> TrainingSet:
    """Read the training images of the data set at `root`; None takes root and layout from `config`.

    Raises ConfigError, whose message names `config_path`, when neither names a folder. Raises the errors of `with_identities`, and
    DataError when the data set cannot be read.
    """
    from runtime.datasets import count_warnings, read_dataset, training_images
    from runtime.datasets.cameras import dataset_name

    folder = root or config.data.root
    if not folder:
        raise ConfigError(f"{config_path}: the configuration has no data.root; add --data ROOT")
    dataset = training_images(read_dataset(folder, layout or config.data.layout))
    config = with_identities(config, dataset.train)
    differences = count_warnings(dataset)
    spec = dataclasses.replace(config.spec(), dataset=dataset_name(dataset.layout, differences))
    return TrainingSet(config, dataset, spec, (*differences, *dataset.left_out))


def with_identities(config: Config, items: Sequence[Item]) -> Config:
    """Return the configuration with the number of identities in the training set.

    Raises ConfigError when `model.identities` or `model.cameras` is set (not 0) and differs from the training set. A
    `model.cameras` of 0 means no camera embedding and stays 0.
    """
    if not items:
        raise ConfigError(
            "the training set is empty; give as --data the folder of a data set with training images (as in bounding_box_train)"
        )
    identities = len({item.pid for item in items})
    cameras = max(item.camid for item in items) + 1
    model = config.model
    for key, configured, counted in (
        ("identities", model.identities, identities),
        ("cameras", model.cameras, cameras),
    ):
        if configured and configured != counted:
            raise ConfigError(
                f"model.{key} is {configured}, but the training set has {counted}; check --data, or add "
                f"--set model.{key}={counted}"
            )
    return dataclasses.replace(config, model=dataclasses.replace(model, identities=identities))


def notes(config: Config, dataset: Dataset, init: Sequence[str]) -> dict[str, Any]:
    """Return the manifest entries about the training: initial weights, configuration and data."""
    names = [source if source == "imagenet" else Path(source).name for source in init]
    return {
        "init": names[0] if len(names) == 1 else names or None,
        "config": dataclasses.asdict(config),
        "data": {"layout": dataset.layout, "images": len(dataset.train)},
    }
