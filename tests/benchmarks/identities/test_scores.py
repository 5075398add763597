"""What IDF1 counts is what TrackEval counts, and identities that are wrong cost what they must."""

import numpy as np
import pytest

from benchmarks.identities import simple
from benchmarks.identities.scores import Scorer
from tests.benchmarks.identities.made import camera, crowd, sequence

ALONE = sequence(
    camera(1, [(1, 1, 0, 9, 0), (2, 2, 0, 9, 1)]), camera(2, [(1, 1, 20, 29, 0), (2, 2, 20, 29, 1)])
)
TRACKS = [(1, 1), (1, 2), (2, 1), (2, 2)]


def idf1(names, given=ALONE):
    return Scorer(given).hits(dict(zip(TRACKS, names))).idf1


def test_perfect_identities_have_no_error_and_new_ones_in_each_camera_cost_half():
    assert idf1("abab") == 1
    # half of the boxes of each person have the identity that fits the person best
    assert idf1("abcd") == pytest.approx(0.5)
    # the same as people who are mixed up in the second camera
    assert idf1("abba") == pytest.approx(0.5)
    # everybody has one identity: in a frame, it is one box, and the other person has a new identity in each camera
    assert idf1("aaaa") == pytest.approx(0.75)


def test_an_identity_is_one_box_in_a_frame_and_the_earlier_track_keeps_it():
    late = sequence(camera(1, [(1, 1, 0, 9, 0), (2, 2, 5, 9, 1)]))
    rows = Scorer(late).identities({(1, 1): "a", (1, 2): "a"})
    numbers = [row.tolist() for row in rows if len(row)]
    assert numbers[0] == [0] and all(len(set(row)) == len(row) for row in numbers)
    # the first track has the same number in every frame
    assert {row[0] for row in numbers} == {0}


def test_hits_belong_to_people_and_boxes_that_show_nobody_belong_to_nobody():
    with_false = sequence(camera(1, [(1, 1, 0, 9, 0), (7, 0, 0, 4, 3)]))
    hits = Scorer(with_false).hits({(1, 1): "a", (1, 7): "b"})
    assert hits.people.tolist() == [1]
    assert (hits.hits.tolist(), hits.truth.tolist(), hits.boxes.tolist()) == ([10, 0], [10, 0], [10, 5])
    assert hits.idf1 == pytest.approx(2 * 10 / (10 + 15))


@pytest.mark.parametrize("seed", range(3))
def test_idf1_is_that_of_trackeval(seed):
    pytest.importorskip("trackeval", reason="TrackEval is not installed: pip install '.[measure]'")
    given, random = crowd(seed=seed), np.random.default_rng(seed)
    scorer = Scorer(given)
    for answer in (
        simple.everybody_apart(given),
        simple.perfect(given),
        {key: int(random.integers(9)) for key in simple.everybody_apart(given)},
    ):
        assert scorer.scores(answer).idf1 == pytest.approx(scorer.hits(answer).idf1, abs=1e-12)


def test_trackeval_sees_one_sequence_of_all_cameras():
    pytest.importorskip("trackeval", reason="TrackEval is not installed: pip install '.[measure]'")
    perfect, switched = (Scorer(ALONE).scores(dict(zip(TRACKS, names))) for names in ("abab", "abcd"))
    assert (perfect.idf1, perfect.assa, perfect.switches) == (1, pytest.approx(1), 0)
    # each of two people gets another identity in the second camera
    assert switched.switches == 2 and switched.assa == pytest.approx(0.5)
