"""The paired interval over people, and which input counts as better."""

import numpy as np

from export.adopting.comparison import Candidate, Comparison, compare_pixels, paired_gain
from export.adopting.foreign import read_foreign
from export.adopting.original import Original
from export.adopting.pixels import CONVENTIONS, RAW, Pixels
from export.int8.eval_set import EvalSet
from runtime.spec import InputSpec
from tests.fakes import foreign as fake

STATED = CONVENTIONS["osnet"].pixels
OTHER = CONVENTIONS["omz"].pixels


def test_the_gain_is_the_difference_of_the_means():
    random = np.random.default_rng(0)
    stated, other = random.random(60), random.random(60)
    gain, low, high = paired_gain(stated, other, np.arange(60) // 2)
    assert np.isclose(gain, 100 * (other.mean() - stated.mean())) and low < gain < high


def test_the_interval_is_that_of_the_normal_law_over_people():
    """With equally many queries for each person, the means of people are independent: 1.96 standard errors."""
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(400), 3)
    stated = random.random(1200) * 0.5
    other = stated + np.repeat(random.normal(0.05, 0.1, 400), 3)
    gain, low, high = paired_gain(stated, other, people)
    error = 100 * (other - stated).reshape(400, 3).mean(axis=1).std() / np.sqrt(400)
    assert np.allclose([gain - low, high - gain], 1.96 * error, rtol=0.06)
    # the same numbers as if all queries were independent would be too narrow
    _, narrow_low, narrow_high = paired_gain(stated, other, np.arange(1200))
    assert (narrow_high - narrow_low) * 1.5 < high - low


def test_a_model_that_takes_uint8_is_compared_by_colour_only(tmp_path):
    """It takes no other normalisation, so no message may advise one."""
    people = np.tile(np.arange(8), 2)
    cameras = np.repeat([0, 1], 8)
    crops = EvalSet(fake.crops(16), None, InputSpec(fake.HEIGHT, fake.WIDTH), people, cameras, 8)
    path = fake.write(tmp_path / "m.onnx", kind="uint8")
    found = compare_pixels(Original(read_foreign(path), Pixels("rgb", *RAW)), crops)
    assert [candidate.pixels for candidate in found.candidates] == [Pixels("rgb", *RAW), Pixels("bgr", *RAW)]
    assert (found.crops, found.people) == (16, 8)


def test_queries_without_a_match_do_not_count():
    stated, other = np.array([0.5, np.nan, 0.5, 0.5]), np.array([0.7, np.nan, 0.7, 0.7])
    assert np.allclose(paired_gain(stated, other, np.array([1, 2, 3, 3])), 20)


def test_equal_inputs_gain_nothing():
    values = np.random.default_rng(0).random(20)
    assert paired_gain(values, values, np.arange(20)) == (0, 0, 0)


def test_the_better_input_is_the_best_whose_interval_is_above_zero():
    stated = Candidate(STATED, 0.4, 0, 0, 0)
    lucky = Candidate(OTHER, 0.6, 20, -1, 41)
    sure = Candidate(Pixels("bgr", STATED.mean, STATED.std), 0.5, 10, 5, 15)
    worse = Candidate(CONVENTIONS["clipreid"].pixels, 0.3, -10, -15, -5)
    assert Comparison((stated, lucky, sure, worse), 300, 60).better is sure
    assert Comparison((stated, lucky, worse), 300, 60).better is None
