"""Run an exported file inside deep-sort-realtime: as its embedder, and by the adapter in docs/trackers.md."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
from deep_sort_realtime.deepsort_tracker import DeepSort

from runtime import open_model
from runtime.model import Model
from tests.integrations_check.evidence import GivenFeatures, OfBoxes, carried, computed_once
from tests.integrations_check.job import Job, Start, Step, adapter, tracks_of

PACKAGES = ("deep-sort-realtime", "onnxruntime", "numpy")
THRESHOLD = "max_cosine_distance"


class Embedder:
    """What deep-sort-realtime wants of an embedder, which gets the crops (H, W, 3) BGR that it cuts itself."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return self.model.embed(crops, color="bgr")


def check(job: Job) -> dict:
    model = open_model(job.model)
    of_boxes = computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr"))
    default = {THRESHOLD: inspect.signature(DeepSort).parameters[THRESHOLD].default}
    clips, embedder = job.clips(), Embedder(model)
    # a model that sees no difference between people
    nothing = lambda _, boxes: np.tile(np.eye(1, 8, dtype=np.float32), (len(boxes), 1))  # noqa: E731
    return {
        "carried": carried(job.sequence_clips(), model, lambda: held_features(job, of_boxes)),
        "default": default,
        "tracks": {
            "own": tracks_of(clips, lambda: inside(job, embedder)),
            "fed": tracks_of(
                clips, lambda: documented(job, lambda frame, boxes: of_boxes(frame, whole(boxes)))
            ),
            "ours": tracks_of(clips, lambda: documented(job, of_boxes)),
            "default": tracks_of(clips, lambda: documented(job, of_boxes, default)),
            "none": tracks_of(clips, lambda: documented(job, nothing)),
        },
    }


def with_settings(job: Job) -> Start:
    model = open_model(job.model)
    of_boxes = computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr"))
    return lambda settings: documented(job, of_boxes, settings)


def documented(job: Job, of_boxes: OfBoxes, settings: dict[str, float] | None = None) -> Step:
    """Return a step of the documented adapter, which gets its features from `of_boxes`, with other settings if they are given."""
    names = started(job, of_boxes)
    if settings:
        names["tracker"].tracker.metric.matching_threshold = settings[THRESHOLD]
    track = names["track"]
    return lambda *frame: {int(one.others): int(one.track_id) for one in track(*frame)}


def held_features(job: Job, of_boxes: OfBoxes) -> Step:
    """Return a step of the documented adapter that gives {index of a box: the feature that its track holds}."""
    track = started(job, of_boxes)["track"]
    return lambda *frame: {int(one.others): one.get_feature() for one in track(*frame)}


def started(job: Job, of_boxes: OfBoxes) -> dict:
    names = adapter("deep-sort-realtime", job.model)
    names["model"] = GivenFeatures(of_boxes)
    return names


def inside(job: Job, embedder: Embedder) -> Step:
    """Return a step of the documented tracker with the file as its embedder, so that the tracker cuts the crops."""
    tracker = adapter("deep-sort-realtime", job.model)["tracker"]
    tracker.embedder = embedder

    def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, int]:
        rows = [([x1, y1, x2 - x1, y2 - y1], score) for (x1, y1, x2, y2), score in zip(boxes, scores)]
        tracks = tracker.update_tracks(rows, frame=frame, others=range(len(rows)))
        seen = [one for one in tracks if one.is_confirmed() and one.time_since_update == 0]
        return {int(one.others): int(one.track_id) for one in seen}

    return step


def whole(boxes: np.ndarray) -> np.ndarray:
    """Round corner, width and height towards zero, as the tracker does before it cuts a crop."""
    corner = np.trunc(boxes[:, :2])
    return np.concatenate([corner, corner + np.trunc(boxes[:, 2:] - boxes[:, :2])], axis=1)
