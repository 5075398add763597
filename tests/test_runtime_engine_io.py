"""Batches are split and padded as the engines allow, and an engine's machine is compared fact by fact."""

from __future__ import annotations

import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cuda import Gpu
from runtime.engine_io import EngineIO, batch_sizes, choices, differences, split

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
    found = choices([wide, *fixed])
    assert found[8] == (1, 0) and found[1] == (2, 0)
    assert found[6] == (0, 1) and found[2] == (0, 0) and found[32] == (0, 0)
    assert set(found) >= {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}


HERE = {
    "system": platform.system(),
    "processor": platform.machine(),
    "gpu": "Orin",
    "compute_capability": "8.7",
}


@pytest.mark.parametrize(
    ("built", "here", "compatible", "loads"),
    [
        ("10.3.0", "10.3.0", False, True),
        ("10.3.0.26", "10.3.0", False, True),
        ("10.3", "10.3.0", False, True),
        ("10.3.0", "10.13.3", False, False),
        ("10.3.0", "10.13.3", True, True),
        ("10.13.3", "10.3.0", True, False),
        ("10.3.0", "11.4.0", True, False),
        ("8.6.1", "8.6.2", False, False),
        ("10.3.0", "none", True, False),
    ],
)
def test_versions_that_load_each_others_engines(built: str, here: str, compatible: bool, loads: bool) -> None:
    manifest = {"machine": HERE | {"tensorrt": built}, "builder": {"version_compatible": compatible}}
    found = differences(manifest, tensorrt=here, gpu=Gpu("Orin", "8.7"), portable=False)
    assert found == ([] if loads else [f"built for TensorRT {built}, here {here}"])


def test_every_difference_is_named_and_what_is_not_said_is_not_compared() -> None:
    gpu = Gpu("Thor", "11.0")
    manifest = {"machine": HERE | {"tensorrt": "10.3.0", "system": "QNX", "processor": "sh4"}}
    found = differences(manifest, tensorrt="11.4.1", gpu=gpu, portable=False)
    assert len(found) == 5 and "built for GPU Orin, here Thor" in found
    assert len(differences(manifest, tensorrt="11.4.1", gpu=gpu, portable=True)) == 3
    for silent in ({}, {"machine": None}, {"machine": {}}, {"machine": {"gpu": None, "tensorrt": None}}):
        assert differences(silent, tensorrt="11.4.1", gpu=gpu, portable=False) == []
