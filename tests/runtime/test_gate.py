"""The gate's arithmetic on made-up features: what passes, what fails, and for which reason."""

import numpy as np
import pytest

from engines.verify import ENGINE_LIMITS
from runtime.errors import DataError, GateError
from runtime.gate import LIMITS, compare, failures, rank_agreement
from runtime.options.choices import PRECISIONS


def features(count=40, dim=32, seed=0):
    raw = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def verdict(candidate, precision="fp32", reference=None):
    return failures(compare(features() if reference is None else reference, candidate), LIMITS[precision])


def test_equal_features_pass_every_gate():
    assert all(verdict(features(), precision) == [] for precision in LIMITS)


def test_every_precision_that_can_be_asked_for_has_limits():
    assert set(LIMITS) == set(PRECISIONS) == set(ENGINE_LIMITS)


def test_rounding_passes_and_noise_fails_fp32():
    noise = np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32)
    near, far = features() + 1e-7 * noise, features() + 1e-2 * noise
    assert verdict(near / np.linalg.norm(near, axis=1, keepdims=True)) == []
    failures = verdict(far / np.linalg.norm(far, axis=1, keepdims=True))
    assert any("lowest cosine" in text for text in failures) and any(
        "largest difference" in text for text in failures
    )


def test_one_bad_image_among_many_fails_by_the_lowest_cosine():
    candidate = features()
    candidate[7] = candidate[8]
    numbers = compare(features(), candidate)
    assert numbers["cosine_mean"] > 0.97
    assert any("lowest cosine" in text for text in failures(numbers, LIMITS["int8"]))


def test_nan_and_wrong_length_are_named():
    broken = features()
    broken[3, 3] = np.nan
    assert verdict(broken) == ["1 of 40 features are not finite"]
    assert any("not of length 1" in text for text in verdict(2 * features()))


def test_collapse_is_caught_although_every_cosine_is_high():
    """Parent: people 0.5 alike; artifact: each still 0.99 like its parent, but all moved towards one common direction."""
    common = np.zeros(32, np.float32)
    common[0] = 1
    parent = common + features()
    parent /= np.linalg.norm(parent, axis=1, keepdims=True)
    fallen = parent + 0.35 * common
    fallen /= np.linalg.norm(fallen, axis=1, keepdims=True)
    failures = verdict(fallen, "int8", parent)
    assert any(text.startswith("features collapse") for text in failures)
    assert compare(parent, fallen)["cosine_min"] > LIMITS["int8"].cosine_min


def test_the_canary_is_relative_to_the_parent():
    """A parent whose people are 0.99 alike (random weights) does not fail itself."""
    alike = 10 * np.eye(1, 32, dtype=np.float32) + features()
    alike /= np.linalg.norm(alike, axis=1, keepdims=True)
    assert compare(alike, alike)["candidate_cosine_between"] > 0.98
    assert verdict(alike, reference=alike) == []


def test_rank_agreement_counts_only_clear_leads():
    reference = np.array([[-np.inf, 0.9, 0.1], [0.9, -np.inf, 0.89995], [0.1, 0.2, -np.inf]])
    swapped = np.array([[-np.inf, 0.1, 0.9], [0.1, -np.inf, 0.9], [0.1, 0.2, -np.inf]])
    # row 0 changed its best, row 1 did too but had no clear lead, row 2 kept it
    assert rank_agreement(reference, swapped) == {"top1": 0.5, "clear": 2, "top10": 1.0}


@pytest.mark.parametrize("precision, swapped", [("fp32", 3e-4), ("fp16", 3e-3), ("int8", 0.03)])
def test_each_precision_may_swap_neighbours_that_it_cannot_tell_apart_and_no_others(precision, swapped):
    """Twenty pairs of neighbours of as many queries trade places: near ones pass, three times the limit's distance fails."""
    limits = LIMITS[precision]
    for lead, passes in ((swapped, False), (swapped / 6, True)):
        near, far = 0.9 + lead / 2, 0.9 - lead / 2
        rows = [
            [(near if column == 0 else far) if column < 2 else 0.1 for column in range(23)] for _ in range(20)
        ]
        reference = np.array(rows)
        candidate = reference[:, [1, 0, *range(2, 23)]]
        agreement = rank_agreement(reference, candidate, gap=limits.gap)
        assert (agreement["clear"] == 0) == passes and (agreement["top1"] >= limits.top1_min) == passes


@pytest.mark.parametrize(
    "precision, clear, flips, passes",
    [
        ("int8", 12, 1, True),
        ("int8", 12, 2, False),
        ("int8", 200, 6, True),
        ("int8", 200, 7, False),
        ("fp16", 150, 1, True),
        ("fp16", 150, 2, False),
        ("fp32", 12, 1, False),
    ],
)
def test_a_share_of_few_images_is_at_least_one_image(precision, clear, flips, passes):
    numbers = compare(features(), features()) | {"clear": clear, "top1": (clear - flips) / clear}
    assert (failures(numbers, LIMITS[precision]) == []) == passes


def test_check_images_that_prove_nothing_are_refused():
    with pytest.raises(DataError, match="check images"):
        compare(np.repeat(features(1), 5, axis=0), features(5))


def test_a_parent_without_numbers_cannot_vouch_for_anything():
    broken = features()
    broken[0, 0] = np.nan
    with pytest.raises(GateError, match="reference.*not finite"):
        compare(broken, features())


def test_nan_never_passes_for_a_number():
    numbers = compare(features(), features()) | {"cosine_min": float("nan"), "difference_max": float("nan")}
    assert len(failures(numbers, LIMITS["fp32"])) == 2


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match="3 or more"):
        compare(features(2), features(2))
