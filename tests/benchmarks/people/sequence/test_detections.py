"""Detections miss, shift and invent boxes as often as asked, by a seed, and stay inside the frame."""

import numpy as np
import pytest

from benchmarks.people.sequence.boxes import PersonBox
from benchmarks.people.sequence.detections import FALSE_CONFIDENCE, detections
from benchmarks.people.sequence.plan import LEAST_DETECTED, DetectionErrors
from runtime.errors import ConfigError

SIZE = (320, 240)
FRAMES, PER_FRAME = 500, 6
TIMES = [frame / 10 for frame in range(FRAMES)]


def exact(visibility=1.0):
    rng = np.random.default_rng(0)
    boxes = []
    for frame in range(FRAMES):
        for person in range(PER_FRAME):
            x, y = rng.uniform(0, 280), rng.uniform(0, 140)
            box = (x, y, x + rng.uniform(20, 40), y + rng.uniform(60, 100))
            boxes.append(PersonBox(frame, TIMES[frame], 2, person + 1, box, 1.0, 10001 + person, visibility))
    return boxes


BOXES = exact()


def made(boxes=BOXES, **errors):
    return detections(boxes, DetectionErrors(**errors), camera=2, times=TIMES, size=SIZE)


def key(one):
    return (one.frame, one.box)


def test_without_errors_the_detections_are_the_exact_boxes():
    assert [(d.frame, d.time, d.camera, d.box, d.confidence) for d in made()] == [
        (b.frame, b.time, b.camera, b.box, b.confidence) for b in BOXES
    ]


@pytest.mark.parametrize("missed", [0.05, 0.3])
def test_as_many_boxes_are_missed_as_asked(missed):
    left = made(missed=missed)
    assert {key(one) for one in left} < {key(one) for one in BOXES}
    sigma = np.sqrt(missed * (1 - missed) / len(BOXES))
    assert abs(1 - len(left) / len(BOXES) - missed) < 4 * sigma


@pytest.mark.parametrize("shifted", [0.1, 0.5])
def test_as_many_boxes_are_shifted_as_asked_and_by_a_fifth_at_most(shifted):
    changed = [(d.box, b.box) for d, b in zip(made(shifted=shifted), BOXES, strict=True) if d.box != b.box]
    sigma = np.sqrt(shifted * (1 - shifted) / len(BOXES))
    assert abs(len(changed) / len(BOXES) - shifted) < 4 * sigma
    for (x1, y1, x2, y2), (u1, v1, u2, v2) in changed:
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
        # A fifth of the size for the centre, and a tenth for each half of the size.
        assert max(abs(x1 - u1), abs(x2 - u2)) <= 0.3 * (u2 - u1) + 0.011
        assert max(abs(y1 - v1), abs(y2 - v2)) <= 0.3 * (v2 - v1) + 0.011


def test_false_boxes_come_as_often_as_asked_and_are_less_certain():
    extra = [one for one in made(false_boxes=0.5) if one.confidence == FALSE_CONFIDENCE]
    assert abs(len(extra) / FRAMES - 0.5) < 4 * np.sqrt(0.5 / FRAMES)
    assert all(
        0 <= b[0] < b[2] <= SIZE[0] and 0 <= b[1] < b[3] <= SIZE[1] for b in (one.box for one in extra)
    )
    assert not made([], false_boxes=5)


def test_who_is_hidden_is_not_detected():
    assert not made(exact(visibility=LEAST_DETECTED - 0.001))
    assert len(made(exact(visibility=LEAST_DETECTED))) == len(BOXES)


def test_the_seed_and_the_camera_select_the_errors():
    errors = {"missed": 0.2, "shifted": 0.2, "false_boxes": 0.3}
    assert made(**errors, seed=3) == made(**errors, seed=3) != made(**errors, seed=4)
    other = detections(BOXES, DetectionErrors(**errors, seed=3), camera=1, times=TIMES, size=SIZE)
    assert [one.box for one in other] != [one.box for one in made(**errors, seed=3)]


def test_more_missed_boxes_include_the_fewer():
    assert {key(one) for one in made(missed=0.3)} < {key(one) for one in made(missed=0.1)}


@pytest.mark.parametrize(
    "errors", [{"missed": 0.7, "shifted": 0.4}, {"false_boxes": -1}, {"false_boxes": float("nan")}]
)
def test_impossible_errors_are_refused(errors):
    with pytest.raises(ConfigError):
        DetectionErrors(**errors).check()
