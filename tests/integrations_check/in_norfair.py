"""Run the adapter for Norfair in docs/trackers.md, and score the tracks of all trackers with motmetrics. Both need NumPy 1."""

from __future__ import annotations

import motmetrics
import norfair
import numpy as np

from tests.integrations_check.job import Job, Step, Tracks, adapter, tracks_of

# A track and a person can belong together if their boxes overlap by half (1 - intersection over union).
LARGEST_DISTANCE = 0.5
PACKAGES = ("norfair", "motmetrics", "onnxruntime", "numpy")


def check(job: Job) -> dict:
    def start(*, with_reid: bool) -> Step:
        names = adapter("norfair", job.model)
        if not with_reid:
            names["tracker"].reid_distance_function = names["tracker"].reid_hit_counter_max = None

        def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, int]:
            objects = names["track"](frame, boxes, scores)
            return {one.last_detection.data: one.id for one in objects if seen(one.last_detection, boxes)}

        def seen(detection: norfair.Detection, boxes: np.ndarray) -> bool:
            """An object that was not found in this frame keeps its last detection."""
            index = detection.data
            return index < len(boxes) and np.array_equal(detection.points, boxes[index].reshape(2, 2))

        return step

    clips = job.clips()
    return {
        "tracks": {
            "ours": tracks_of(clips, lambda: start(with_reid=True)),
            "none": tracks_of(clips, lambda: start(with_reid=False)),
        }
    }


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
