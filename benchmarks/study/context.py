"""Load what all trials of a study share, once in each process: the teacher, the decoded images and the masks of the people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.people.index import NAME, read_index
from benchmarks.stats.precisions import index_name
from benchmarks.study.options import StudyOptions
from benchmarks.study.scores import FeatureSet
from benchmarks.study.tokens import person_tokens
from runtime.datasets import Dataset, Item, count_warnings, parse_name, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import DataError
from runtime.files.manifest import sha256
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec

BATCH = 64
ADVISED = "--data data/anny_reid"


@dataclass(frozen=True)
class ImageSet:
    """Decoded images (N, H, W, 3) uint8 RGB in the model's input size, with their person ids and 0-based camera ids (N,).

    `camera_rows` (N,) is what the model receives as its input `camera_ids`: the row of its camera embedding for each image. It can
    differ from `camids`: a model gets the row of the mean embedding for a camera that it does not know. It is None for a model
    without this input.
    """

    pixels: NDArray[np.uint8]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    camera_rows: NDArray[np.int64] | None

    def features(self, session: Any, spec: InputSpec) -> FeatureSet:
        """Return the features of all images, which `session(images, camera_ids)` computes for up to 64 images at a time.

        `spec` describes the input of the model, for which the pixels are normalised.
        """
        batches = []
        for start in range(0, len(self.pids), BATCH):
            rows = slice(start, start + BATCH)
            cameras = None if self.camera_rows is None else self.camera_rows[rows]
            batches.append(session(to_input(self.pixels[rows], spec), cameras))
        return FeatureSet(np.concatenate(batches), self.pids, self.camids)


@dataclass(frozen=True)
class OtherDataset:
    """A data set on which the models are scored but not trained: its N images, and the masks (N,) of its query and gallery images."""

    images: ImageSet
    query: NDArray[np.bool_]
    gallery: NDArray[np.bool_]


@dataclass(frozen=True)
class Context:
    """What all trials of a study need.

    `config` is the configuration of prune.py, and `spec` describes the input of the model. `student` is the unpruned model, of which
    each trial prunes a copy. If it was trained on the people in the training images `items`, its classifier rows are in the order of
    their labels (see `fit_classifier`). `loss(model, images, labels, camera_ids)` returns the scalar whose gradient scores the
    tokens. `loss_name` is a text for people: the name of the loss and the reason for its choice. `own_images` has the images of
    Anny-ReID under the keys "query", "twins" (the unoccluded pair of each query) and "gallery". `person_tokens` maps the same keys
    to an array (N, P) that marks the patch tokens on the person. `visible` (Q,) is the visible part (0..1) of the person in each
    query. `other_datasets` maps a name to a data set that is only used for scores.
    """

    config: Any
    spec: InputSpec
    student: Any
    loss: Any
    loss_name: str
    items: tuple[Item, ...]
    own_images: dict[str, ImageSet]
    visible: NDArray[np.float64]
    person_tokens: dict[str, NDArray[np.bool_]]
    other_datasets: dict[str, OtherDataset]


def read_images(items: Sequence[Item], spec: InputSpec, *, dataset: str | None) -> ImageSet:
    """Decode the images of `items`, resize them to the input size of the model that `spec` describes, and return them.

    `dataset` is the name of the data set of `items`, or None if it has no name. If the model was trained on this data set,
    `camera_rows` of the result has the camera id of each image. Otherwise it has the id of the mean camera embedding for every
    image. For a model without camera input, it is None.
    """
    camids = np.array([item.camid for item in items], np.int64)
    camera_rows, _ = camera_ids(camids, spec, dataset=dataset)
    crops = np.stack([resize(load_image(item.path), spec) for item in items])
    return ImageSet(crops, np.array([item.pid for item in items], np.int64), camids, camera_rows)


def study_fingerprint(options: StudyOptions) -> dict[str, Any]:
    """Return what must be equal in all trials of a study: the hashes of its files, the names of its data sets and its configuration.

    A resumed study accepts only trials with the same fingerprint.
    """
    from dataclasses import asdict

    from prune.config.load import load_config

    index = index_path(options.data)
    fingerprint = {
        "weights": sha256(options.weights),
        "config": asdict(load_config(options.config, options.overrides)),
        "data": {"name": Path(options.data).name, "sha256": sha256(index)},
        # Names only: a result must not show the folders of the machine that made it.
        "others": [Path(root).name for root in options.others],
    }
    # A trial's file returns lists in place of tuples, because JSON has no tuples. Converting to JSON and back gives the same form
    # here.
    return dict(json.loads(json.dumps(fingerprint)))


def index_path(root: str) -> Path:
    """Return the path of the file anny.json in the folder `root`. Raises DataError if the file does not exist."""
    path = Path(root) / NAME
    if not path.is_file():
        raise DataError(
            f"{root}: this folder has no anny.json; the study needs Anny-ReID with its masks and unoccluded pairs, so give {ADVISED}"
        )
    return path


def whole_index(root: str) -> dict[str, Any]:
    """Return the content of the file anny.json in the folder `root`.

    Raises DataError if the file is missing or damaged, or if a query has no unoccluded pair: an image of the same person in the same
    pose with nothing in front.
    """
    index = read_index(Path(root), advice=f"give {ADVISED}", refusal=DataError)
    images = index["images"]
    for name, entry in images.items():
        if name.startswith("query/") and entry.get("twin") not in images:
            raise DataError(
                f"{index_path(root)}: {name} has no unoccluded image of the same pose (key twin); give {ADVISED}"
            )
    return index


@lru_cache(maxsize=1)
def open_context(options: StudyOptions) -> Context:
    """Load and return what the trials of a study share. Another call with the same options returns the same object.

    Raises DataError or ConfigError for damaged files.
    """
    from dataclasses import replace

    from prune.config.load import load_config
    from prune.scoring.inputs import batch_source, fit_classifier, training_items
    from prune.session import open_weights
    from prune.training.loop import make_accelerator
    from prune.training.losses import training_loss

    config = load_config(options.config, options.overrides)
    device = make_accelerator(config.train.precision, options.device).device.type
    source, teacher = open_weights(options.weights, config, device=device)
    spec = replace(source.spec, layout="float-nchw")
    dataset = read_dataset(options.data, "anny")
    items = training_items(dataset, spec.dataset)
    batches = batch_source(items, spec, config.prune, device)
    student, loss, loss_name = fit_classifier(teacher, items, spec, batches, device)
    if loss is not training_loss:
        # As in prune.py: the logits of a classifier of other identities cannot be distilled.
        config = replace(config, train=config.train.for_unknown_identities())
    entries = whole_index(options.data)["images"]
    query_names = [index_name(item.path) for item in dataset.query]
    unoccluded = [_unoccluded_item(Path(options.data), entries[name]["twin"]) for name in query_names]
    name = dataset_name(dataset.layout, count_warnings(dataset))
    sides = {"query": dataset.query, "twins": unoccluded, "gallery": dataset.gallery}
    return Context(
        config=config,
        spec=spec,
        student=student,
        loss=loss,
        loss_name=loss_name,
        items=items,
        own_images={side: read_images(side_items, spec, dataset=name) for side, side_items in sides.items()},
        visible=np.array([entries[name]["visible"] for name in query_names]),
        person_tokens=_person_tokens(
            Path(options.data), list(entries), sides, spec, teacher.architecture.stride
        ),
        other_datasets={Path(root).name: _other_dataset(read_dataset(root), spec) for root in options.others},
    )


def _unoccluded_item(root: Path, name: str) -> Item:
    return Item(str(root / name), *parse_name(Path(name).name, "anny"))


def _other_dataset(dataset: Dataset, spec: InputSpec) -> OtherDataset:
    """Decode the test images of a data set, and its training images too if it has only two cameras."""
    test = dataset.query + dataset.gallery
    two_cameras = {item.camid for item in test} == {0, 1}
    items = test + (dataset.train if two_cameras else ())
    number = np.arange(len(items))
    queries = len(dataset.query)
    images = read_images(items, spec, dataset=None)
    return OtherDataset(images, number < queries, (number >= queries) & (number < len(test)))


def _person_tokens(
    root: Path, names: Sequence[str], sides: dict[str, Sequence[Item]], spec: InputSpec, stride: int
) -> dict[str, NDArray[np.bool_]]:
    """Return the patch tokens on the person (see `person_tokens`) for each entry of `sides`: queries, unoccluded pairs and gallery.

    `names` has the image names of anny.json, in whose order masks.npz has the masks.
    """
    mask_rows = {name: row for row, name in enumerate(names)}
    size = whole_index(str(root))["size"]
    with np.load(root / "masks.npz", allow_pickle=False) as file:
        masks = np.unpackbits(file["visible"], axis=1).reshape(-1, *size).astype(bool)
    return {
        side: person_tokens(
            masks[[mask_rows[index_name(item.path)] for item in items]], (spec.height, spec.width), stride
        )
        for side, items in sides.items()
    }
