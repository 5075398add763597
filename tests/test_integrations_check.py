"""What `make integrations-check` does around the trackers: it reads boxes, and says what is not as it must be."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from runtime.datasets import Dataset, Item
from tests.fakes.documents import ROOT, blocks
from tests.integrations_check.__main__ import failures_of, parse, same_tracks
from tests.integrations_check.clips import BoxedFrame, mot_clip, sequence_clips, write_mot
from tests.integrations_check.crop_costs import between_two_cameras
from tests.integrations_check.environments import ENVIRONMENTS
from tests.integrations_check.evidence import computed_once
from tests.integrations_check.job import HOG


def row(frame, box, **more):
    return json.dumps({"frame": frame, "box": box, "confidence": 1.0} | more)


def test_a_sequence_has_every_frame_and_only_boxes_that_can_be_seen(tmp_path):
    exact = [
        row(1, [0, 0, 20, 40], person=7, visibility=0.9),
        row(1, [30, 0, 50, 40], person=8, visibility=0.05),
        row(3, [0, 0, 20, 40], person=7, visibility=1.0),
    ]
    (tmp_path / "camera1.mp4").touch()
    (tmp_path / "camera1.boxes.jsonl").write_text("\n".join(exact) + "\n")
    detected = [row(1, [0, 0, 20, 40]), row(2, [5, 5, 12, 40])]
    (tmp_path / "camera1.detections.jsonl").write_text("\n".join(detected) + "\n")
    for kind in ("mp4", "boxes.jsonl", "detections.jsonl"):
        (tmp_path / f"camera2.{kind}").touch()
    (clip,) = sequence_clips(tmp_path, None)
    assert [frame.number for frame in clip.frames] == [frame.number for frame in clip.truth] == [0, 1, 2, 3]
    assert [len(frame.boxes) for frame in clip.frames] == [0, 1, 0, 0]
    assert [frame.people.tolist() for frame in clip.truth] == [[], [7], [], [7]]
    assert all(frame.people is None for frame in clip.frames)
    assert len(sequence_clips(tmp_path, 2)[0].frames) == 2


def test_a_mot_file_comes_back_as_it_was_written(tmp_path):
    frames = [
        BoxedFrame(0, np.array([[1.5, 2, 10, 40]]), np.array([0.5]), None),
        BoxedFrame(1, np.empty((0, 4)), np.empty(0), None),
        BoxedFrame(2, np.array([[1, 2, 11, 42], [50, 60, 70, 90]]), np.array([1.0, 0.25]), None),
    ]
    write_mot(tmp_path / "boxes.txt", frames)
    clip = mot_clip("vtest", Path("vtest.avi"), tmp_path / "boxes.txt", None)
    assert len(clip.frames) == 3
    for before, after in zip(frames, clip.frames):
        assert before.number == after.number
        np.testing.assert_allclose(before.boxes, after.boxes)
        np.testing.assert_allclose(before.scores, after.scores)


def test_the_boxes_of_vtest_are_of_people_inside_its_frames():
    clip = mot_clip("vtest", Path("vtest.avi"), HOG, None)
    boxes = np.concatenate([frame.boxes for frame in clip.frames])
    assert len(clip.frames) == 250 and len(boxes) > 500
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (height > width).all() and (width > 40).all()
    # the video has 768 x 576 pixels; a box may end beyond its edge
    assert (boxes[:, :2] < (768, 576)).all() and (boxes[:, 2:] > 0).all()


GOOD = {
    "trackers": {
        "boxmot": {
            "same_pixels": {"boxes": 10, "largest_difference": 0.0, "lowest_cosine": 1.0},
            "same_tracks": {"camera1": {"same": True, "boxes": 9, "tracks": 2}},
        },
        "trackers": {"carried": {"boxes": 5, "lowest_cosine": 1.0}},
        "ultralytics": {"accepted_by_track": True},
    }
}


@pytest.mark.parametrize(
    ("keys", "value", "word"),
    [
        (("boxmot", "same_pixels", "lowest_cosine"), 0.99999, "cosine"),
        (("boxmot", "same_pixels", "largest_difference"), 0.01, "crops"),
        (("boxmot", "same_pixels", "boxes"), 0, "no box"),
        (("boxmot", "same_tracks", "camera1", "same"), False, "camera1"),
        (("trackers", "carried", "lowest_cosine"), 0.5, "trackers"),
        (("ultralytics", "accepted_by_track"), False, "YOLO"),
    ],
)
def test_a_difference_fails_the_check(keys, value, word):
    assert not failures_of(GOOD)
    document = copy.deepcopy(GOOD)
    place = document["trackers"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (failure,) = failures_of(document)
    assert word in failure


def test_tracks_are_the_same_only_box_for_box():
    rows = [[0, 0, 1], [0, 1, 2], [1, 0, 1]]
    swapped = [[0, 0, 1], [0, 1, 2], [1, 0, 2]]
    assert same_tracks({"own": {"a": rows}, "fed": {"a": list(rows)}}) == {
        "a": {"same": True, "boxes": 3, "tracks": 2}
    }
    assert same_tracks({"own": {"a": rows}, "fed": {"a": swapped}})["a"]["same"] is False
    assert same_tracks({"ours": {"a": rows}}) is None


def test_features_are_computed_once_for_the_same_boxes_of_the_same_frame():
    calls = []
    features = computed_once(lambda frame, boxes: calls.append(1) or boxes.sum(axis=1))
    frames = [np.full((32, 32, 3), value, np.uint8) for value in (1, 2)]
    boxes = np.array([[0, 0, 8, 8], [1, 2, 9, 9]], np.float32)
    for _ in range(2):
        for frame in frames:
            for shift in (0, 1):
                np.testing.assert_array_equal(features(frame, boxes + shift), (boxes + shift).sum(axis=1))
    assert len(calls) == 4


def test_the_second_data_set_is_searched_from_camera_to_camera():
    items = [Item(f"{person}_{camera}.png", person, camera) for person in (3, 5) for camera in (2, 0, 1)]
    dataset = Dataset(
        "market1501", "root", train=tuple(items[:2]), query=tuple(items[2:4]), gallery=tuple(items[4:])
    )
    pairs = between_two_cameras(dataset)
    assert not pairs.train
    assert {(item.pid, item.camid) for item in pairs.query} == {(3, 0), (5, 0)}
    assert {(item.pid, item.camid) for item in pairs.gallery} == {(3, 1), (5, 1)}


def test_the_versions_of_the_documents_are_those_that_are_checked():
    text = (ROOT / "docs" / "trackers.md").read_text()
    named = [line for block in blocks(text, "python") for line in block.splitlines()[:1]]
    for package in ("ultralytics", "boxmot", "deep-sort-realtime", "norfair"):
        (pinned,) = [one for one in ENVIRONMENTS[package].packages if one.startswith(f"{package}==")]
        assert f"# needs {package} {pinned.split('==')[1]}" in named


def test_without_a_sequence_the_check_ends_with_one_line(tmp_path, capsys):
    from tests.integrations_check.__main__ import main

    assert main(["--sequence", str(tmp_path)]) == 2
    assert "--sequence" in capsys.readouterr().err
    assert parse(["--only", "boxmot"]).only == ("boxmot",)
