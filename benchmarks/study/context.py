"""What all cells of the comparison share, read once a process: the teacher, the pictures, who is where in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats.precisions import name_of
from benchmarks.study.scores import Side
from benchmarks.study.tokens import person_tokens
from runtime.datasets import Dataset, Item, count_warnings, parse_name, read_dataset
from runtime.datasets.cameras import camera_ids, dataset_name
from runtime.errors import DataError
from runtime.files.manifest import sha256
from runtime.images.decode import load_image
from runtime.images.preprocess import resize, to_input
from runtime.spec import InputSpec

BATCH = 64


@dataclass(frozen=True)
class Setting:
    """What a run was asked, as a process can be told: paths, `--set` overrides, device."""

    weights: str
    config: str
    data: str
    out: str
    others: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures (N, height, width, 3) uint8 RGB, their pids and camids (N,), and what the model is fed as camera rows."""

    pixels: NDArray[np.uint8]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    rows: NDArray[np.int64] | None

    def seen_by(self, run: Any, spec: InputSpec) -> Side:
        """Their features from a Session, in batches of 64."""
        parts = []
        for start in range(0, len(self.pids), BATCH):
            step = slice(start, start + BATCH)
            rows = None if self.rows is None else self.rows[step]
            parts.append(run(to_input(self.pixels[step], spec), rows))
        return Side(np.concatenate(parts), self.pids, self.camids)


@dataclass(frozen=True)
class Lab:
    """Everything but the cell. `own` are query, twins and gallery, `visible` (Q,) the queries' shares.

    `person` maps each of `own` to (N, P), which tokens lie on the person; `others` maps a name to its
    pictures and the masks (N,) of its query and gallery. `student` is the teacher with classifiers that fit the training people
    `items`, `loss` and `why` how its tokens are scored; config, models and loss are prune's.
    """

    config: Any
    spec: InputSpec
    student: Any
    loss: Any
    why: str
    items: tuple[Item, ...]
    own: dict[str, Pictures]
    visible: NDArray[np.float64]
    person: dict[str, NDArray[np.bool_]]
    others: dict[str, tuple[Pictures, NDArray[np.bool_], NDArray[np.bool_]]]


def pictures(items: Sequence[Item], spec: InputSpec, *, dataset: str | None) -> Pictures:
    """The items decoded; cameras by the model's table where `dataset` is its own, else the mean camera."""
    camids = np.array([item.camid for item in items], np.int64)
    rows, _ = camera_ids(camids, spec, dataset=dataset)
    crops = np.stack([resize(load_image(item.path), spec) for item in items])
    return Pictures(crops, np.array([item.pid for item in items], np.int64), camids, rows)


def asked(setting: Setting) -> dict[str, Any]:
    """What the cells of one comparison have in common, to tell a resumed one from another: hashes, names, configuration."""
    from dataclasses import asdict

    from prune.config.load import load_config

    index = index_of(setting.data)
    said = {
        "weights": sha256(setting.weights),
        "config": asdict(load_config(setting.config, setting.overrides)),
        "data": {"name": Path(setting.data).name, "sha256": sha256(index)},
        # names alone: where data lies on a machine is nobody's business
        "others": [Path(root).name for root in setting.others],
    }
    # as a cell's file will give it back: JSON has no tuples
    return dict(json.loads(json.dumps(said)))


def index_of(root: str) -> Path:
    """Anny-ReID's index at `root`; DataError where there is none."""
    path = Path(root) / "anny.json"
    if not path.is_file():
        raise DataError(
            f"{root}: no anny.json; the study needs visible shares, twins and masks: --data data/anny_reid"
        )
    return path


@lru_cache(maxsize=1)
def open_lab(setting: Setting) -> Lab:
    """The lab of `setting`; kept, because a process runs many cells of one."""
    from dataclasses import replace

    from prune.config.load import load_config
    from prune.scoring.inputs import fitting, scoring, training_items
    from prune.session import open_weights
    from prune.training.loop import make_accelerator
    from prune.training.losses import training_loss

    config = load_config(setting.config, setting.overrides)
    device = make_accelerator(config.train.precision, setting.device).device.type
    source, teacher = open_weights(setting.weights, config, device=device)
    spec = replace(source.spec, layout="float-nchw")
    dataset = read_dataset(setting.data, "anny")
    items = training_items(dataset, spec.dataset)
    batches = scoring(items, spec, config.prune, device)
    student, loss, why = fitting(teacher, items, spec, batches, device)
    if loss is not training_loss:
        # as prune.py does: a classifier that knows other people teaches nothing
        config = replace(config, train=config.train.for_unknown_identities())
    images = json.loads(index_of(setting.data).read_text())["images"]
    queries = [name_of(item.path) for item in dataset.query]
    twins = [_item(Path(setting.data), images[name]["twin"]) for name in queries]
    name = dataset_name(dataset.layout, count_warnings(dataset))
    sides = {"query": dataset.query, "twins": twins, "gallery": dataset.gallery}
    return Lab(
        config=config,
        spec=spec,
        student=student,
        loss=loss,
        why=why,
        items=items,
        own={side: pictures(mine, spec, dataset=name) for side, mine in sides.items()},
        visible=np.array([images[name]["visible"] for name in queries]),
        person=_persons(Path(setting.data), list(images), sides, spec, teacher.shape.stride),
        others={Path(root).name: _other(read_dataset(root), spec) for root in setting.others},
    )


def _item(root: Path, name: str) -> Item:
    return Item(str(root / name), *parse_name(Path(name).name, "anny"))


def _other(dataset: Dataset, spec: InputSpec) -> tuple[Pictures, NDArray[np.bool_], NDArray[np.bool_]]:
    """Its pictures, with those to train on where it has two cameras only, and which are query and gallery."""
    test = dataset.query + dataset.gallery
    two = {item.camid for item in test} == {0, 1}
    items = test + (dataset.train if two else ())
    place = np.arange(len(items))
    split = len(dataset.query)
    return pictures(items, spec, dataset=None), place < split, (place >= split) & (place < len(test))


def _persons(
    root: Path, names: Sequence[str], sides: dict[str, Sequence[Item]], spec: InputSpec, stride: int
) -> dict[str, NDArray[np.bool_]]:
    """Which tokens lie on the person, per side; masks.npz is in the order of anny.json."""
    place = {name: row for row, name in enumerate(names)}
    size = json.loads((root / "anny.json").read_text())["size"]
    with np.load(root / "masks.npz", allow_pickle=False) as file:
        bits = np.unpackbits(file["visible"], axis=1).reshape(-1, *size).astype(bool)
    return {
        side: person_tokens(
            bits[[place[name_of(item.path)] for item in mine]], (spec.height, spec.width), stride
        )
        for side, mine in sides.items()
    }
