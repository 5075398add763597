"""Compare a tracker's own crops and features with ours. Imports no tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.integrations.crop_cost import surrounded
from export.integrations.crops import Crop
from runtime.model import Model
from runtime.ranking.metrics import evaluate
from tests.integrations_check.clips import Clip
from tests.integrations_check.job import Step

# Every this many frames, the boxes are compared.
STEP = 5
# So many boxes are compared with the features that a track carries.
CARRIED = 200
# (frame BGR, boxes (N, 4)) -> crops (N, 3, H, W), or features (N, D)
OfBoxes = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ours:
    """Our model, and our version of a tracker's way of cutting crops."""

    model: Model
    cut: Crop

    @property
    def size(self) -> tuple[int, int]:
        return self.model.artifact.spec.height, self.model.artifact.spec.width

    def crops(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The tracker's crops, cut by our functions."""
        pixels = np.ascontiguousarray(frame[:, :, ::-1])
        crops = [self.cut(pixels, box, self.size) for box in boxes]
        return np.stack([crop for crop in crops if crop is not None])

    def features_of_their_crops(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return self.model.artifact.run(self.crops(frame, boxes))

    def features(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return self.model.embed_boxes(frame, boxes, color="bgr")


class GivenFeatures:
    """A model for the adapters of docs/trackers.md, whose features come from a function."""

    def __init__(self, of_boxes: OfBoxes) -> None:
        self.of_boxes = of_boxes

    def embed_boxes(self, frame: np.ndarray, boxes: np.ndarray, *, color: str) -> np.ndarray:
        assert color == "bgr"
        return self.of_boxes(frame, boxes)


def computed_once(of_boxes: OfBoxes) -> OfBoxes:
    """Return `of_boxes` with a memory: the same boxes of the same frame are computed only once."""
    known: dict[tuple[bytes, bytes], np.ndarray] = {}

    def features(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        key = np.ascontiguousarray(boxes).tobytes(), frame[::16, ::16].tobytes()
        if key not in known:
            known[key] = of_boxes(frame, boxes)
        return known[key]

    return features


def carried(clips: list[Clip], model: Model, start: Callable[[], Step]) -> dict:
    """Return {boxes, lowest_cosine} of the features that tracks carry against ours of the same boxes.

    The steps of `start` give {index of a box: the feature of its track}. Our features are computed for these boxes alone, so that a
    feature that came to another box is noticed.
    """
    boxes, cosine = 0, 1.0
    for clip in clips:
        step = start()
        for frame, pixels in clip.pictures():
            corners = frame.boxes.astype(np.float32)
            held = step(pixels, corners, frame.scores.astype(np.float32))
            if not held or frame.number % STEP:
                continue
            ours = normalised(model.embed_boxes(pixels, corners[list(held)], color="bgr"))
            theirs = normalised(np.stack(list(held.values())))
            cosine = min(cosine, float((ours * theirs).sum(axis=1).min()))
            boxes += len(held)
            if boxes > CARRIED:
                return {"boxes": boxes, "lowest_cosine": cosine}
    return {"boxes": boxes, "lowest_cosine": cosine}


def same_pixels(
    clips: list[Clip],
    ours: Ours,
    their_crops: OfBoxes,
    their_features: OfBoxes,
    *,
    rounded: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes,
) -> dict:
    """Return {boxes, largest_difference, lowest_cosine} of our crops and features against the tracker's own.

    `rounded` does to the boxes (N, 4) float32 what the tracker's representation of a box does. A last bit decides about the pixel
    where a crop ends.
    """
    boxes, difference, cosine = 0, 0.0, 1.0
    for clip in clips:
        for frame, pixels in clip.pictures():
            if frame.number % STEP or not len(frame.boxes):
                continue
            corners = rounded(frame.boxes.astype(np.float32))
            difference = max(
                difference, float(np.abs(ours.crops(pixels, corners) - their_crops(pixels, corners)).max())
            )
            theirs = normalised(their_features(pixels, corners))
            mine = normalised(ours.features_of_their_crops(pixels, corners))
            cosine = min(cosine, float((theirs * mine).sum(axis=1).min()))
            boxes += len(corners)
    return {"boxes": boxes, "largest_difference": difference, "lowest_cosine": cosine}


def retrieval(clips: list[Clip], ours: Ours) -> dict:
    """Return the mAPs (0..1) of finding the people of one camera in the others: {ours, tracker, estimate, boxes, people}.

    `ours` has our crops, `tracker` the tracker's crops with their real surroundings, and `estimate` the tracker's crops of our crops,
    whose surroundings repeat their edge, as in the export. Where nobody is seen by two cameras, {reason}.
    """
    sides: dict[str, list[np.ndarray]] = {"ours": [], "tracker": [], "estimate": []}
    people, cameras = [], []
    for number, clip in enumerate(clips):
        for frame, pixels in clip.pictures(clip.truth):
            if frame.number % STEP or not len(frame.boxes):
                continue
            sides["ours"].append(ours.features(pixels, frame.boxes))
            sides["tracker"].append(ours.features_of_their_crops(pixels, frame.boxes))
            sides["estimate"].append(np.concatenate([_surrounded(ours, pixels, box) for box in frame.boxes]))
            people += frame.people.tolist()
            cameras += [number] * len(frame.boxes)
    seen = {(person, camera) for person, camera in zip(people, cameras)}
    if len(seen) == len(set(people)):
        return {"reason": "nobody is seen by two cameras"}
    identities = np.array(people), np.array(cameras)
    scores = {}
    for key, rows in sides.items():
        features = normalised(np.concatenate(rows))
        scores[key] = evaluate(features, *identities, features, *identities).mAP
    return scores | {"boxes": len(people), "people": len(set(people))}


def _surrounded(ours: Ours, pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    frame, inner = surrounded(pixels[max(top, 0) : bottom, max(left, 0) : right], least_height=1)
    return ours.features_of_their_crops(frame, np.array([inner], np.float32))


def normalised(features: np.ndarray) -> np.ndarray:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)
