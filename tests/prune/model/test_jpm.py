"""The jigsaw's order against the published steps, written here with arrays."""

import numpy as np
import pytest

from prune.model.jpm import local_groups, rearranged


@pytest.mark.parametrize("patches", [128, 162, 210, 242, 21, 35])
def test_shift_and_shuffle(patches):
    tokens = np.arange(1, patches + 1)
    rotated = np.concatenate([tokens[4:], tokens[:4]])
    if len(rotated) % 2:
        rotated = np.append(rotated, rotated[-2])
    shuffled = rotated.reshape(2, -1).T.reshape(-1)
    assert rearranged(patches) == tuple(shuffled)


def test_stride_12_starts_and_ends_as_published():
    order = rearranged(210)
    assert order[:4] == (5, 110, 6, 111)
    groups = local_groups(210, 4, rearrange=True)
    assert [len(group) for group in groups] == [52] * 4
    assert set(range(1, 211)) - {token for group in groups for token in group} == {109, 4}


def test_without_rearrangement_groups_are_runs_of_rows():
    assert local_groups(9, 4, rearrange=False) == ((1, 2), (3, 4), (5, 6), (7, 8))
