"""Batches are split and padded as the engines allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backends.tensorrt.io import EngineIO, batch_sizes, choices, split

PROFILE = st.tuples(st.integers(1, 70), st.integers(0, 70)).map(lambda pair: (pair[0], sum(pair)))


@given(st.integers(0, 300), st.sets(st.integers(1, 64), min_size=1))
def test_a_split_runs_every_image_once_in_sizes_that_exist(count: int, sizes: set[int]) -> None:
    parts = split(count, sorted(sizes))
    assert sum(images for images, _ in parts) == count
    assert all(0 < images <= batch and batch in sizes for images, batch in parts)
    # only the last part is padded, and by no more than the smallest size that holds it needs
    assert all(images == batch == max(sizes) for images, batch in parts[:-1])
    assert all(not any(images <= size < batch for size in sizes) for images, batch in parts)


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (1, [(1, 1)]),
        (3, [(3, 4)]),
        (4, [(4, 4)]),
        (17, [(17, 32)]),
        (33, [(32, 32), (1, 1)]),
        (70, [(32, 32), (32, 32), (6, 8)]),
        (0, []),
    ],
)
def test_of_five_fixed_engines_the_smallest_that_fits_runs_the_rest(
    count: int, parts: list[tuple[int, int]]
) -> None:
    assert split(count, (1, 4, 8, 16, 32)) == parts


@given(PROFILE)
def test_a_profile_has_few_batch_sizes_and_little_padding(profile: tuple[int, int]) -> None:
    low, high = profile
    sizes = batch_sizes(low, high)
    assert sizes[0] == low and sizes[-1] == high and list(sizes) == sorted(set(sizes))
    assert len(sizes) <= 2 * high.bit_length() + 2
    for count in range(low, high + 1):
        batch = split(count, sizes)[0][1]
        assert 3 * (batch - count) <= batch


def test_batch_sizes_of_the_default_profile() -> None:
    assert batch_sizes(1, 32) == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    assert batch_sizes(8, 8) == (8,)


def test_of_several_engines_the_one_made_for_a_size_is_chosen() -> None:
    fixed = [EngineIO({}, ((size, size),), dynamic=False) for size in (8, 1)]
    wide = EngineIO({}, ((1, 32), (4, 12)), dynamic=True)
    chosen = choices([wide, *fixed])
    assert chosen[8] == (1, 0) and chosen[1] == (2, 0)
    assert chosen[6] == (0, 1) and chosen[2] == (0, 0) and chosen[32] == (0, 0)
    assert set(chosen) >= {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}
