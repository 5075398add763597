"""The people of a sequence: seeded looks, lookalikes, and a gait whose feet stand still."""

import numpy as np
import pytest

from benchmarks.people.person.loading import load_bodies
from benchmarks.people.sequence import cast
from benchmarks.people.sequence.plan import SequencePlan

PLAN = SequencePlan(seed=5, people=40, lookalikes=0.3)


def test_looks_depend_on_the_seed_and_the_number_alone():
    more = SequencePlan(seed=5, people=200, lookalikes=0.06, seconds=90, width=128)
    assert more.pairs == PLAN.pairs == 6
    for number in (0, 1, 5, 12, 13, 39):
        assert cast.looks(PLAN, number) == cast.looks(more, number)
        assert cast.looks(PLAN, number) != cast.looks(SequencePlan(seed=6, people=40, lookalikes=0.3), number)


def test_lookalikes_share_their_clothes_but_no_body_and_nobody_else_does():
    people = [cast.looks(PLAN, number) for number in range(PLAN.people)]
    clothes = [(one.outfit.top, one.outfit.outer, one.outfit.lower) for one in people]
    for number, worn in enumerate(clothes):
        paired = number ^ 1 if number < 2 * PLAN.pairs else None
        assert [other for other in range(PLAN.people) if clothes[other] == worn and other != number] == (
            [] if paired is None else [paired]
        )
    assert len({one.phenotype["weight"] for one in people}) == PLAN.people
    for first, second in zip(people[: 2 * PLAN.pairs : 2], people[1 : 2 * PLAN.pairs : 2]):
        assert first.outfit != second.outfit
        assert (first.phenotype["gender"] > 0.5) == (second.phenotype["gender"] > 0.5)


def test_a_foot_on_the_ground_stays_in_place_while_the_body_walks():
    pytest.importorskip("anny", reason="the renderer is not installed: pip install '.[render]'")
    bodies = load_bodies()
    skeleton = bodies.skeleton
    for number in (0, 3):
        body = bodies.body(cast.looks(PLAN, number).phenotype)
        walker = cast.walker(PLAN, number, 1.3, skeleton=skeleton, body=body)
        cycle = float(walker.progress[-1])
        assert 0.7 < 1.3 / cycle < 1.2
        walked = np.linspace(0, cycle, 49)
        bodies_on_the_way = [walker.meshes(metres)[0].vertices for metres in walked]
        low = skeleton.canon[:, 2] < skeleton.canon[:, 2].min() + 0.02
        slipped = 0.0
        for side in (1, -1):
            sole = low & (skeleton.side == side)
            # People face -y, so the place on the ground is the way of the body minus y.
            places = [
                (metres - place[sole, 1], place[sole, 2] < 0.012)
                for metres, place in zip(walked, bodies_on_the_way)
            ]
            for (before, down), (after, still) in zip(places, places[1:]):
                if (both := down & still).any():
                    slipped += abs(float((after - before)[both].mean()))
        assert slipped < 0.25 * cycle
        # The feet are on the ground at all times, and after a cycle everything is as before.
        assert all(abs(float(place[:, 2].min())) < 1e-4 for place in bodies_on_the_way)
        np.testing.assert_allclose(bodies_on_the_way[0], bodies_on_the_way[-1], atol=2e-3)
