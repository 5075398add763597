"""Intervals: zero for the same answer, near to what repeated draws of people show, and the textbook's for a rate."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.identities.intervals import against, counted
from benchmarks.identities.scores import Hits


def hits(values, *, boxes=10.0, nobody=3.0):
    values = np.asarray(values, float)
    people = len(values)
    return Hits(
        np.arange(1, people + 1),
        np.append(values, 0),
        np.append(np.full(people, 10.0), 0),
        np.append(np.full(people, boxes), nobody),
    )


def test_a_method_does_not_differ_from_itself():
    result = against([hits([10, 5, 0])], [hits([10, 5, 0])])
    assert all(value == 0 for value in result.values())


def test_the_difference_and_the_saved_error_are_those_of_idf1():
    base, other = hits([5] * 20), hits([10] * 20)
    result = against([base], [other])
    assert result["difference"] == pytest.approx(other.idf1 - base.idf1)
    assert result["error_cut"] == pytest.approx(1 - (1 - other.idf1) / (1 - base.idf1))
    # everybody gains the same, so the draws differ by the boxes of nobody only
    assert result["low"] == pytest.approx(result["high"], abs=0.01) and result["low"] > 0.4


def test_the_interval_is_as_wide_as_people_differ():
    random = np.random.default_rng(1)
    base, gain = np.full(60, 5.0), random.normal(1, 2, 60)
    result = against([hits(base, nobody=0)], [hits(base + gain, nobody=0)])
    # with equal numbers of boxes, the difference is the mean gain over the boxes of a person
    expected = 1.96 * gain.std() / np.sqrt(60) / 10
    assert (result["high"] - result["low"]) / 2 == pytest.approx(expected, rel=0.05)


def test_sequences_count_equally_and_must_be_the_same():
    first, second = [hits([5] * 4), hits([10] * 40)], [hits([10] * 4), hits([10] * 40)]
    assert against(first, second)["difference"] == pytest.approx((second[0].idf1 - first[0].idf1) / 2)
    with pytest.raises(ValueError):
        against(first, second[:1])


@pytest.mark.parametrize(("events", "trials"), [(0, 39), (3, 40), (17, 100), (40, 40)])
def test_a_counted_rate_has_the_interval_of_scipy(events, trials):
    expected = binomtest(events, trials).proportion_ci(0.95, "exact")
    result = counted(events, trials)
    assert (result["low"], result["high"]) == pytest.approx((expected.low, expected.high))
    assert result["rate"] == events / trials
