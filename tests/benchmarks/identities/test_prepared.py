"""Preparing the shipped sequence: detections get the track and the person that they show, and each box its own feature."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.identities.prepared import writing
from benchmarks.identities.prepared.overlaps import matched, overlap
from benchmarks.identities.prepared.sequences import load_sequence
from runtime.errors import ConfigError
from runtime.features import Features, save_features
from runtime.video.boxes import read_boxes
from tests.benchmarks.identities.made import unit

ROOT = Path(__file__).resolve().parents[3] / "data" / "sequence"


def numbered(frames, *, fps):
    """A tracker that gives no track to the first box of a frame, and numbers the others by their place."""
    return [np.arange(len(boxes)) - 1 for boxes, _ in frames]


def extract(video, boxes, out):
    """Features that say which box they are of."""
    found = read_boxes(boxes)
    values = unit(np.column_stack([found.frames + 1, found.corners]))
    names = zip(found.frames.tolist(), found.numbers.tolist())
    paths = tuple(f"{video}#frame={frame}&box={number}" for frame, number in names)
    arrays = {"frames": found.frames, "times": found.times, "tracks": found.tracks}
    save_features(out, Features(values, paths, found.persons, found.cameras, "0" * 64, **arrays))


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    shutil.copytree(ROOT, tmp_path / "seq", ignore=shutil.ignore_patterns("*.mp4"))
    monkeypatch.setattr(writing, "link", numbered)
    writing.write_tracks(tmp_path / "seq")
    writing.write_features(tmp_path / "seq", "fake", extract)
    return tmp_path / "seq"


def test_exact_tracks_and_people_are_those_of_the_sequence(prepared):
    sequence = load_sequence(prepared, "exact", "fake")
    document = json.loads((ROOT / "sequence.json").read_text())
    assert len(sequence.people_of_tracks()) == sum(camera["tracks"] for camera in document["cameras"])
    for camera in sequence.cameras:
        exact = writing.visible_boxes(ROOT / f"camera{camera.number}.boxes.jsonl")
        people = {one.track: one.person for one in exact}
        assert [people[track] for track in camera.tracks.tolist()] == camera.boxes.persons.tolist()
        # 5 % of the detections are missed, and of those that moved a few show nobody enough
        assert 0.9 < len(camera.boxes) / len(exact) < 0.97


def test_every_box_has_its_own_feature(prepared):
    for kind in writing.KINDS:
        for camera in load_sequence(prepared, kind, "fake").cameras:
            boxes, features = camera.boxes, camera.features
            expected = unit(np.column_stack([boxes.frames + 1, boxes.corners]))
            np.testing.assert_allclose(features.features, expected, rtol=1e-5)
            assert (features.tracks == boxes.tracks).all() and (features.pids == boxes.persons).all()


def test_boxes_without_a_track_are_left_out_and_false_boxes_show_nobody(prepared):
    sequence = load_sequence(prepared, "tracker", "fake")
    assert all((camera.tracks >= 0).all() for camera in sequence.cameras)
    assert {0} < {person for camera in sequence.cameras for person in camera.boxes.persons.tolist()}


def test_a_sequence_that_was_not_prepared_is_refused_with_the_command():
    with pytest.raises(ConfigError, match="benchmarks.identities prepare"):
        load_sequence(ROOT, "exact", "other")


def test_boxes_match_the_exact_box_that_they_overlap_most():
    exact = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)
    detected = np.array([[21, 0, 31, 10], [1, 0, 11, 10], [6, 0, 16, 10]], float)
    similarity = overlap(detected, exact)
    assert similarity[0].tolist() == pytest.approx([0, 9 / 11])
    assert matched(similarity) == {0: 1, 1: 0}
