"""Run an exported file inside Ultralytics' BoT-SORT."""

from __future__ import annotations

import os
from pathlib import Path

# Ultralytics would write its settings into the home folder, install packages and look for a network.
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(__file__).resolve().parents[2] / ".integrations"))
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")

import numpy as np
from ultralytics import YOLO
from ultralytics.engine.results import Boxes
from ultralytics.trackers.bot_sort import BOTSORT
from ultralytics.trackers.utils.reid import ReID, build_encoder
from ultralytics.utils import YAML, IterableSimpleNamespace

from export.integrations.crops import ultralytics_crop
from runtime import open_model
from tests.integrations_check.evidence import OfBoxes, Ours, computed_once, retrieval, same_pixels
from tests.integrations_check.job import Job, Start, Step, tracks_of

PACKAGES = ("ultralytics", "torch", "onnxruntime", "opencv-python", "numpy")


def check(job: Job) -> dict:
    configuration = configuration_of(job)
    settings = YAML.load(configuration)
    ours = Ours(open_model(job.model), ultralytics_crop)
    reid = build_encoder(True, settings["model"], "cpu")
    assert isinstance(reid, ReID) and reid.imgsz == ours.size, "the input size is not read from the file"

    def their_crops(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return reid._crops_to_tensor(reid._crop_detections(frame, centred(boxes))).numpy()

    def their_features(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return np.stack(reid(frame, centred(boxes)))

    clips = job.clips()
    return {
        "accepted_by_track": accepted(configuration, ours.size),
        "same_pixels": same_pixels(
            clips, ours, their_crops, their_features, rounded=lambda boxes: corners(centred(boxes))
        ),
        "retrieval": retrieval(job.sequence_clips(), ours),
        "tracks": {
            "own": tracks_of(clips, lambda: start(settings)),
            "fed": tracks_of(clips, lambda: start(settings, ours.features_of_their_crops)),
            "ours": tracks_of(clips, lambda: start(settings, ours.features)),
            "none": tracks_of(clips, lambda: start(settings | {"with_reid": False})),
        },
    }


def with_settings(job: Job) -> Start:
    model, settings = open_model(job.model), YAML.load(configuration_of(job))
    features = computed_once(lambda frame, boxes: model.embed_boxes(frame, boxes, color="bgr"))
    return lambda more: start(settings | more, features)


def configuration_of(job: Job) -> str:
    """Return the configuration that the export wrote beside the file."""
    return str(Path(job.model).with_suffix(".ultralytics.yaml"))


def start(settings: dict, features: OfBoxes | None = None) -> Step:
    """Return a step of a new tracker, which gets its features from `features` or from its own encoder. The cameras do not move."""
    tracker = BOTSORT(IterableSimpleNamespace(**settings | {"gmc_method": "none"}))
    if features is not None:
        tracker.encoder = lambda frame, rows: list(features(frame, corners(rows))) if len(rows) else []

    def step(frame: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> dict[int, int]:
        rows = np.column_stack([boxes, scores, np.zeros(len(boxes))]).astype(np.float32)
        tracked = tracker.update(Boxes(rows, frame.shape[:2]), frame)
        return {int(row[7]): int(row[4]) for row in tracked}

    return step


def accepted(configuration: str, size: tuple[int, int]) -> bool:
    """Return whether `YOLO.track`, with a detector that was not trained, opens our file by the configuration."""
    detector = YOLO("yolo11n.yaml", task="detect")
    detector.track(np.zeros((320, 320, 3), np.uint8), tracker=configuration, imgsz=320, verbose=False)
    encoder = detector.predictor.trackers[0].encoder
    return isinstance(encoder, ReID) and encoder.imgsz == size


def centred(boxes: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 -> centre, width and height, in float32 as in a result of YOLO."""
    return np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]]).astype(
        np.float32
    )


def corners(rows: np.ndarray) -> np.ndarray:
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.column_stack([centre - half, centre + half])
