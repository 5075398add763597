"""The option for people who visit one camera only: they stay there, and without it nothing changes."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.people.sequence import streams, writing
from benchmarks.people.sequence.boxes import read_sequence
from benchmarks.people.sequence.place.furniture import random_furniture
from benchmarks.people.sequence.plan import CAMERAS, SequencePlan
from benchmarks.people.sequence.routes import plan_visits

PLAN = SequencePlan(seed=5, people=30, seconds=60)
FURNITURE = [random_furniture(PLAN, camera) for camera in range(CAMERAS)]


def cameras_of_people(plan):
    people = defaultdict(list)
    for visit in plan_visits(plan, FURNITURE):
        people[visit.person].append(visit.camera)
    return people


def test_a_part_of_the_people_visits_one_camera_and_some_of_them_again():
    everywhere, half, all_stay = (
        cameras_of_people(replace(PLAN, one_camera=part)) for part in (0.0, 0.5, 1.0)
    )
    assert all(len(set(cameras)) == 1 for cameras in all_stay.values())
    assert sum(len(cameras) > 1 for cameras in all_stay.values()) >= 10
    alone = [
        np.mean([len(set(cameras)) == 1 for cameras in people.values()]) for people in (everywhere, half)
    ]
    assert alone[0] < 0.4 < alone[1] < 0.9


def test_people_who_visit_several_cameras_go_where_they_went_before():
    before, after = cameras_of_people(PLAN), cameras_of_people(replace(PLAN, one_camera=0.5))
    stays = [
        streams.generator(PLAN.seed, "one camera", person).random() < 0.5 for person in range(PLAN.people)
    ]
    assert 5 < sum(stays) < 25
    for person, stay in enumerate(stays):
        assert before[person][0] == after[person][0]
        if not stay:
            # a path that others block takes longer, and the last visit may then come too late
            common = min(len(after[person]), len(before[person]))
            assert after[person][:common] == before[person][:common]


def test_without_the_option_the_description_of_a_sequence_is_what_it_was():
    root = Path(__file__).resolve().parents[4] / "data" / "sequence"
    shipped = read_sequence(root)["generator"]["plan"]
    assert writing._plan_record(SequencePlan(**shipped)) == shipped
    other = writing._plan_record(SequencePlan(**shipped, one_camera=0.5))
    assert other == shipped | {"one_camera": 0.5}
