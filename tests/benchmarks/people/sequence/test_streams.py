"""No random stream, person or place of a sequence is one of a data set that models are trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.people import dataset
from benchmarks.people.person import garments
from benchmarks.people.plan import FIRST_TEST_PID
from benchmarks.people.sequence import cast, streams
from benchmarks.people.sequence.plan import FIRST_PERSON, SequencePlan

DATA = Path(__file__).resolve().parents[4] / "data"
PLANS = [json.loads((DATA / "anny_reid" / name).read_text())["plan"] for name in ("anny.json", "large.json")]
# The second words of the entropy that the generator of data sets uses beside its streams: kinds of scenes, and the places.
SCENES = (0, 1, 2, 3, 77, 78)
WORD = st.integers(0, 2**32 - 1)


def state(entropy):
    return np.random.SeedSequence(entropy).generate_state(8).tolist()


@given(WORD, WORD, st.sampled_from(sorted(streams.STREAM)), st.integers(0, 9999), st.integers(0, 9999))
def test_no_stream_of_a_data_set_is_one_of_a_sequence(seed, other, stream, number, pid):
    ours = streams.entropy(seed, stream, number)
    # Trailing zeros do not change numpy's entropy, so words are compared one by one.
    for second in (*dataset._STREAM.values(), *SCENES):
        assert ours[1] != second
        for theirs in ([seed, second, pid], [other, second, pid, 3, 7], [seed, second]):
            assert state(ours) != state(theirs)
    assert state(streams.place_seed(seed)) not in (state(seed), state(other))


def test_the_streams_of_a_sequence_differ_from_each_other():
    states = [state(streams.entropy(1, stream, number)) for stream in streams.STREAM for number in range(5)]
    states.append(state(streams.place_seed(1)))
    assert len({tuple(one) for one in states}) == len(states)


def test_entropy_with_another_second_word_would_be_noticed():
    assert state([1, 2, 3]) == state([1, 2, 3, 0]) and state([1, 2, 3]) != state([1, 3, 3])


def data_set_looks(seed, stream, number):
    """The phenotype and outfit that `dataset.Renderer.person` gives."""
    rng = np.random.default_rng([seed, dataset._STREAM[stream], number])
    values = garments.phenotype(rng)
    return values, garments.outfit(rng, feminine=values["gender"] > 0.5, age=values["age"])


@pytest.mark.parametrize("plan", PLANS, ids=["shipped", "large"])
def test_nobody_of_a_sequence_is_in_the_shipped_data_set_or_the_training_set(plan):
    pids = [*range(1, plan["train_identities"] + 1)]
    pids += range(FIRST_TEST_PID, FIRST_TEST_PID + plan["test_identities"])
    bodies, garment_seeds = set(), set()
    for stream, number in [*(("identity", pid) for pid in pids), *(("passer_by", n) for n in range(12))]:
        values, outfit = data_set_looks(plan["seed"], stream, number)
        bodies.add(values["proportions"])
        garment_seeds |= {outfit.top.seed, outfit.lower.seed}
    # The seed of the data set too: the worst case.
    for seed in (plan["seed"], 2027):
        people = [cast.looks(SequencePlan(seed=seed, people=200), number) for number in range(200)]
        assert not bodies & {person.phenotype["proportions"] for person in people}
        assert len(garment_seeds & {person.outfit.top.seed for person in people}) <= 1
    # A person id says which generator made the person: those of data sets have four digits.
    assert FIRST_PERSON > 9999 >= max(pids)
