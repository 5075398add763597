"""Run the adapter for supervision and trackers in docs/trackers.md."""

from __future__ import annotations

import numpy as np
import supervision as sv

from runtime import open_model
from tests.integrations_check.evidence import carried
from tests.integrations_check.job import Job, Step, adapter

PACKAGES = ("supervision", "trackers", "onnxruntime", "numpy")


def check(job: Job) -> dict:
    return {"carried": carried(job.sequence_clips(), open_model(job.model), lambda: held_features(job))}


def held_features(job: Job) -> Step:
    """Return a step of the documented adapter that gives {index of a box: the feature in the detections that come back}."""
    track = adapter("trackers", job.model)["track"]

    def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, np.ndarray]:
        if not len(boxes):
            return {}
        detections = sv.Detections(
            xyxy=boxes,
            confidence=scores,
            class_id=np.zeros(len(boxes)),
            data={"index": np.arange(len(boxes))},
        )
        tracked = track(frame, detections)
        assert tracked.tracker_id is not None and len(tracked.tracker_id) == len(tracked)
        return dict(zip(tracked.data["index"].tolist(), tracked.data["feature"]))

    return step
