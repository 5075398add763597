"""A prepared sequence in memory: its tracks with features, and the exact boxes of its people. Knows no method and no scores."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.identities.prepared.writing import COSTS, FOLDER, visible_boxes
from benchmarks.people.sequence.boxes import read_sequence
from runtime.errors import ConfigError
from runtime.features import Features, load_features
from runtime.video.boxes import Boxes, read_boxes

# A track of a sequence: the number of its camera, and the number of the track there.
TrackKey = tuple[int, int]
# What a method says: the identity of each track.
Answer = Mapping[TrackKey, Hashable]


@dataclass(frozen=True, eq=False)
class Camera:
    """The tracks of a camera: its `boxes`, the `features` of those that a model can use, and its exact boxes.

    `truth` is (frames (T,), corners (T, 4), people (T,)) of the exact boxes that a detector can see.
    """

    number: int
    features: Features
    boxes: Boxes
    truth: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]

    @property
    def tracks(self) -> NDArray[np.int64]:
        """The track (N,) of each box."""
        return self.boxes.tracks


@dataclass(frozen=True, eq=False)
class PreparedSequence:
    """One rendered sequence with one kind of tracks and the features of one model.

    `frames` is the number of frames of each camera, and `size` their width and height. `cpu_ms_per_crop` is what the features cost.
    """

    name: str
    kind: str
    frames: int
    fps: int
    size: tuple[int, int]
    cameras: tuple[Camera, ...]
    cpu_ms_per_crop: float

    @property
    def crops(self) -> int:
        """The number of boxes with a track and a feature."""
        return sum(len(camera.boxes) for camera in self.cameras)

    def people_of_tracks(self) -> dict[TrackKey, int]:
        """Return the person that most boxes of each track show, 0 if most show nobody."""
        people = {}
        for camera in self.cameras:
            for track in np.unique(camera.tracks).tolist():
                shown, counts = np.unique(camera.boxes.persons[camera.tracks == track], return_counts=True)
                people[camera.number, track] = int(shown[np.argmax(counts)])
        return people

    def last_times(self) -> dict[TrackKey, float]:
        """Return the time of the last box of each track in seconds."""
        return {
            (camera.number, track): float(camera.boxes.times[camera.tracks == track].max())
            for camera in self.cameras
            for track in np.unique(camera.tracks).tolist()
        }


def load_sequence(root: Path, kind: str, model: str) -> PreparedSequence:
    """Return the prepared sequence in the folder `root`, with tracks of the `kind` and the features of the `model` (its name).

    Raises ConfigError if the sequence was not prepared with this model.
    """
    folder = root / FOLDER / model
    if not (folder / COSTS).exists():
        raise ConfigError(
            f"{root}: no features of {model}; make them with python -m benchmarks.identities prepare {root} --model {model}=FILE"
        )
    document = read_sequence(root)
    return PreparedSequence(
        name=root.name,
        kind=kind,
        frames=max(camera["frames"] for camera in document["cameras"]),
        fps=document["fps"],
        size=(document["width"], document["height"]),
        cameras=tuple(_camera(root, folder, kind, camera) for camera in document["cameras"]),
        cpu_ms_per_crop=json.loads((folder / COSTS).read_text())["cpu_ms_per_crop"],
    )


def _camera(root: Path, folder: Path, kind: str, camera: Mapping[str, object]) -> Camera:
    number = int(str(camera["camera"]))
    features = load_features(folder / f"camera{number}.{kind}.npz")
    exact = visible_boxes(root / str(camera["boxes"]))
    return Camera(
        number=number,
        features=features,
        boxes=read_boxes(root / FOLDER / f"camera{number}.{kind}.jsonl"),
        truth=(
            np.array([one.frame for one in exact], np.int64),
            np.array([one.box for one in exact], np.float64).reshape(-1, 4),
            np.array([one.person for one in exact], np.int64),
        ),
    )
