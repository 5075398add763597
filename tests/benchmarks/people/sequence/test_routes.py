"""Who walks where and when: nobody is in two places, paths keep clear, and the same seed gives the same visits."""

from collections import defaultdict

import numpy as np
import pytest

from benchmarks.people.place.camera import CAMERAS
from benchmarks.people.sequence.place.furniture import clearance, random_furniture
from benchmarks.people.sequence.place.view import camera_view
from benchmarks.people.sequence.plan import SequencePlan
from benchmarks.people.sequence.routes import Visit, plan_visits

PLAN = SequencePlan(seed=3, people=60, seconds=60)
FURNITURE = [random_furniture(PLAN, camera) for camera in range(len(CAMERAS))]
VISITS = plan_visits(PLAN, FURNITURE)


def of_people():
    people = defaultdict(list)
    for visit in VISITS:
        people[visit.person].append(visit)
    return people


def test_everybody_comes_and_tracks_are_unique():
    assert set(of_people()) == set(range(PLAN.people))
    assert len({visit.track for visit in VISITS}) == len(VISITS)
    assert {visit.camera for visit in VISITS} == set(range(len(CAMERAS)))


def test_nobody_is_in_two_cameras_at_once_and_some_come_back_to_the_same_camera():
    again = 0
    for visits in of_people().values():
        for before, after in zip(visits, visits[1:]):
            assert after.enters - before.leaves >= 1.5
            again += before.camera == after.camera
            if before.camera == after.camera:
                np.testing.assert_allclose(after.path[0], before.path[-1], atol=1e-5)
    assert again >= 5


def test_most_people_visit_two_cameras():
    several = [len({visit.camera for visit in visits}) > 1 for visits in of_people().values()]
    assert np.mean(several) > 0.6


def test_a_visit_begins_and_ends_outside_the_image_and_crosses_it():
    for visit in VISITS:
        view = camera_view(CAMERAS[visit.camera], PLAN.width, PLAN.height)
        ground = np.concatenate([visit.path, np.zeros((len(visit.path), 1))], 1).astype(np.float32)
        x = view.project(ground)[0][:, 0]
        inside = (x > 0) & (x < view.width)
        assert not inside[0] and not inside[-1] and inside.any()


def test_people_walk_evenly_in_the_direction_of_their_path():
    visit = VISITS[0]
    times = np.arange(visit.enters + 0.05, visit.leaves, 0.1)
    steps = [visit.at(float(time)) for time in times]
    places = np.stack([step[0] for step in steps])
    moved = np.diff(places, axis=0)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), visit.speed * 0.1, rtol=0.03)
    directions = np.stack([step[1] for step in steps])
    assert ((moved * directions[:-1]).sum(1) > 0.97 * visit.speed * 0.1).all()
    assert visit.at(visit.enters - 0.01) is None and visit.at(visit.leaves + 0.01) is None


def test_paths_keep_clear_of_objects_and_mostly_of_each_other():
    assert min(clearance(one, visit.path) for visit in VISITS for one in FURNITURE[visit.camera]) > 0.2
    close = total = 0
    for time in np.arange(0, PLAN.seconds, 0.5):
        for camera in range(len(CAMERAS)):
            here = [step[0] for visit in VISITS if visit.camera == camera and (step := visit.at(float(time)))]
            gaps = [np.linalg.norm(a - b) for i, a in enumerate(here) for b in here[:i]]
            close += sum(gap < 0.4 for gap in gaps)
            total += len(gaps)
    assert total > 500 and close / total < 0.02


def test_clearance_is_the_distance_to_the_nearest_covered_point():
    one = FURNITURE[0][0]
    rng = np.random.default_rng(0)
    # The covered ground as a dense grid of points, turned and moved.
    grid = np.stack(np.meshgrid(*(np.linspace(-side / 2, side / 2, 161) for side in one.size)), -1)
    angle = np.radians(one.angle)
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covered = grid.reshape(-1, 2) @ turn.T + one.place
    for point in rng.uniform(-6, 6, (30, 2)):
        nearest = np.linalg.norm(covered - point, axis=1).min()
        assert clearance(one, point[None].astype(np.float32)) == pytest.approx(nearest, abs=0.03)


def test_a_seed_gives_the_same_visits_and_another_seed_others():
    def flat(visits):
        return [(v.person, v.camera, v.track, v.enters, v.speed, v.path.tobytes()) for v in visits]

    few = SequencePlan(seed=3, people=8, seconds=60)
    first, again = (plan_visits(few, FURNITURE) for _ in range(2))
    assert flat(first) == flat(again)
    # More people change nothing for those who were there before.
    assert flat(first) == flat(VISITS)[: len(first)]
    assert flat(first) != flat(plan_visits(SequencePlan(seed=4, people=8, seconds=60), FURNITURE))


def test_a_visit_knows_its_length_and_end():
    path = np.asarray([[0, 0], [3, 4]], np.float32)
    visit = Visit(0, 0, 1, enters=2.0, speed=2.0, path=path)
    assert (visit.length, visit.leaves) == (5.0, 4.5)
