"""Run the adapter for Norfair in docs/trackers.md, and score the tracks of all trackers with motmetrics. Both need NumPy 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import motmetrics
import norfair
import numpy as np
from norfair.tracker import TrackedObject

from runtime import open_model
from tests.integrations_check.evidence import GivenFeatures, OfBoxes, carried, computed_once
from tests.integrations_check.job import Job, Start, Step, Tracks, adapter, tracks_of

# A track and a person can belong together if their boxes overlap by half (1 - intersection over union).
LARGEST_DISTANCE = 0.5
THRESHOLD = "reid_distance_threshold"
PACKAGES = ("norfair", "motmetrics", "onnxruntime", "numpy")


def check(job: Job) -> dict:
    model = open_model(job.model)
    of_boxes = computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr"))
    default = {THRESHOLD: inspect.signature(norfair.Tracker).parameters[THRESHOLD].default}
    clips = job.clips()
    return {
        "carried": carried(job.sequence_clips(), model, lambda: documented(job, of_boxes, result=feature)),
        "default": default,
        "tracks": {
            "ours": tracks_of(clips, lambda: documented(job, of_boxes)),
            "default": tracks_of(clips, lambda: documented(job, of_boxes, default)),
            "none": tracks_of(clips, lambda: documented(job, of_boxes, with_reid=False)),
        },
    }


def with_settings(job: Job) -> Start:
    model = open_model(job.model)
    of_boxes = computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr"))
    return lambda settings: documented(job, of_boxes, settings)


def number(one: TrackedObject) -> int:
    return one.id


def feature(one: TrackedObject) -> np.ndarray:
    return one.last_detection.embedding


def documented(
    job: Job,
    of_boxes: OfBoxes,
    settings: dict[str, float] | None = None,
    *,
    with_reid: bool = True,
    result: Callable[[TrackedObject], Any] = number,
) -> Step:
    """Return a step of the documented adapter, which gets its features from `of_boxes`, with other settings if they are given.

    It gives the `result` of the object that belongs to each box.
    """
    names = adapter("norfair", job.model)
    names["model"] = GivenFeatures(of_boxes)
    if settings:
        names["tracker"].reid_distance_threshold = settings[THRESHOLD]
    if not with_reid:
        names["tracker"].reid_distance_function = names["tracker"].reid_hit_counter_max = None

    def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, Any]:
        objects = names["track"](frame, boxes, scores)
        return {one.last_detection.data: result(one) for one in objects if seen(one.last_detection, boxes)}

    def seen(detection: norfair.Detection, boxes: np.ndarray) -> bool:
        """An object that was not found in this frame keeps its last detection."""
        index = detection.data
        return index < len(boxes) and np.array_equal(detection.points, boxes[index].reshape(2, 2))

    return step


def identity_scores(job: Job, tracks: dict[str, Tracks]) -> dict:
    """Return {idf1, switches} of the tracks of all cameras of the sequence together, by motmetrics."""
    accumulators, names = [], []
    for clip in job.sequence_clips():
        of_box = {(frame, index): track for frame, index, track in tracks[clip.name]}
        accumulator = motmetrics.MOTAccumulator()
        for given, exact in zip(clip.frames, clip.truth):
            tracked = [index for index in range(len(given.boxes)) if (given.number, index) in of_box]
            distances = motmetrics.distances.iou_matrix(
                placed(exact.boxes), placed(given.boxes[tracked]), max_iou=LARGEST_DISTANCE
            )
            found = [of_box[given.number, index] for index in tracked]
            accumulator.update(exact.people.tolist(), found, distances, frameid=given.number)
        accumulators.append(accumulator)
        names.append(clip.name)
    summary = motmetrics.metrics.create().compute_many(
        accumulators, names=names, metrics=["idf1", "num_switches"], generate_overall=True
    )
    overall = summary.loc["OVERALL"]
    return {"idf1": float(overall["idf1"]), "switches": int(overall["num_switches"])}


def placed(boxes: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 -> left, top, width, height."""
    return np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
