"""What the demo says about identities across cameras, against people and answers written out by hand and an optimal assignment."""

import json

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from benchmarks.demo.cameras import (
    CAMERAS,
    SEQUENCE,
    identify_command,
    read_identified,
    read_people,
    right_tracks,
    why_no_video,
)
from benchmarks.steps import ROOT
from runtime.errors import DeviceError

# Person 1 is in cameras 1 and 2, person 2 in camera 1 only, and person 3 in camera 2 twice.
PEOPLE = {(1, 10): 1, (2, 20): 1, (1, 11): 2, (2, 21): 3, (2, 22): 3}


def event(camera, track, identity):
    times = {"first_s": 0.0, "last_s": 1.0}
    return {"kind": "track", "identity": identity, "camera": camera, "track": str(track)} | times


@pytest.fixture
def sequence(tmp_path):
    for camera in (1, 2):
        rows = [
            {"frame": 0, "camera": camera, "track": track, "person": person}
            for (place, track), person in PEOPLE.items()
            if place == camera
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"camera{camera}.boxes.jsonl").write_text(text)
    return tmp_path


def test_the_numbers_are_those_of_the_answer_after_its_merges(sequence):
    # Person 3 first has two identities, which a merge then joins. Person 2 gets the identity of person 1.
    said = [event(1, 10, "a"), event(2, 20, "a"), event(1, 11, "a"), event(2, 21, "b"), event(2, 22, "c")]
    said.append({"kind": "merge", "identity": "b", "merged": "c"})
    events = sequence / "events.jsonl"
    events.write_text("".join(json.dumps(one) + "\n" for one in said))
    result = {"false_match_rate": 0.2, "pairs": 400}
    assert read_identified(result, events, sequence).to_json() == {
        "tracks": 5,
        "people": 3,
        "people_around": 1,
        "identities": 2,
        "identities_around": 1,
        "right": 4,
        "rate": 0.2,
        "pairs": 400,
    }


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (["a", "a", "b", "c", "c"], 5),
        # everybody is one identity: it stands for one person only
        (["a", "a", "a", "a", "a"], 2),
        # no two tracks share an identity: one track of each person is right
        (["a", "b", "c", "d", "e"], 3),
    ],
)
def test_a_right_track_agrees_with_most_tracks_of_its_person_and_its_identity(answer, right):
    assert len(right_tracks(dict(zip(PEOPLE, answer)), PEOPLE)) == right


def test_no_more_tracks_are_right_than_the_best_assignment_of_identities_to_people_allows():
    generator = np.random.default_rng(5)
    equal = 0
    for _ in range(200):
        persons, names = generator.integers(0, 6, 20), generator.integers(0, 8, 20)
        names = np.where(generator.random(20) < 0.7, persons, names)
        keys = [(1, number) for number in range(20)]
        right = right_tracks(dict(zip(keys, names.tolist())), dict(zip(keys, persons.tolist())))
        common = np.zeros((6, 8))
        np.add.at(common, (persons, names), 1)
        best = common[linear_sum_assignment(-common)].sum()
        assert len(right) <= best
        equal += len(right) == best
    # where the two differ, a count is a tie or an identity is left to a person with few tracks
    assert equal > 100


def test_the_shipped_sequence_has_the_cameras_and_the_people_that_its_readme_says():
    people = read_people(ROOT / SEQUENCE)
    assert {camera for camera, _ in people} == set(CAMERAS)
    assert len(people) == 67 and len(set(people.values())) == 32


def test_the_command_gives_every_video_with_its_own_boxes(tmp_path):
    command = identify_command("m.onnx", tmp_path)
    pairs = [command[place : place + 4] for place, word in enumerate(command) if word == "--video"]
    assert len(pairs) == len(CAMERAS)
    for _, video, option, boxes in pairs:
        assert option == "--boxes" and boxes == video.replace(".mp4", ".boxes.jsonl")


def test_a_machine_without_pyav_is_told_what_to_install(monkeypatch):
    def missing(name):
        raise DeviceError("av is not installed; pip install '.[video]'")

    assert why_no_video() is None
    monkeypatch.setattr("benchmarks.demo.cameras.importlib.import_module", missing)
    assert "pip install" in why_no_video()
