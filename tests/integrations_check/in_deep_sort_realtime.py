"""Run the adapter for deep-sort-realtime in docs/trackers.md."""

from __future__ import annotations

import numpy as np

from tests.integrations_check.job import Job, Step, adapter, tracks_of

PACKAGES = ("deep-sort-realtime", "onnxruntime", "numpy")


class Constant:
    """A model that sees no difference between people."""

    def embed_boxes(self, frame: np.ndarray, boxes: np.ndarray, *, color: str) -> np.ndarray:
        return np.tile(np.eye(1, 8, dtype=np.float32), (len(boxes), 1))


def check(job: Job) -> dict:
    def start(*, constant: bool) -> Step:
        names = adapter("deep-sort-realtime", job.model)
        if constant:
            names["model"] = Constant()
        track = names["track"]
        return lambda *frame: {int(one.others): int(one.track_id) for one in track(*frame)}

    clips = job.clips()
    return {
        "tracks": {
            "ours": tracks_of(clips, lambda: start(constant=False)),
            "none": tracks_of(clips, lambda: start(constant=True)),
        }
    }
