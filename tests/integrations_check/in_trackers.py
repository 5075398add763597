"""Run the adapter for supervision and trackers in docs/trackers.md."""

from __future__ import annotations

import numpy as np
import supervision as sv

from runtime import open_model
from tests.integrations_check.evidence import normalised
from tests.integrations_check.job import Job, adapter

PACKAGES = ("supervision", "trackers", "onnxruntime", "numpy")
FRAMES = 30


def check(job: Job) -> dict:
    """Return {boxes, lowest_cosine}: the features that come back with a tracked box are those of this box."""
    model = open_model(job.model)
    (clip, *_) = job.sequence_clips()
    track, boxes, cosine = adapter("trackers", job.model)["track"], 0, 1.0
    for frame, pixels in clip.pictures():
        if not len(frame.boxes):
            continue
        given = sv.Detections(
            xyxy=frame.boxes.astype(np.float32), confidence=frame.scores, class_id=np.zeros(len(frame.boxes))
        )
        tracked = track(pixels, given)
        assert tracked.tracker_id is not None and len(tracked.tracker_id) == len(tracked)
        if len(tracked):
            expected = normalised(model.embed_boxes(pixels, tracked.xyxy, color="bgr"))
            cosine = min(cosine, float((expected * tracked.data["feature"]).sum(axis=1).min()))
            boxes += len(tracked)
        if boxes > FRAMES:
            break
    return {"carried": {"boxes": boxes, "lowest_cosine": cosine}}
