"""Criteria that AMG is compared with: their numbers against loops, and what they make go."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prune.scoring.scores import class_attention, head_magnitudes, random_scores, relative_magnitudes


@pytest.mark.parametrize("biased", [True, False])
def test_a_heads_magnitude_is_the_norm_of_all_its_weights(biased):
    random = np.random.default_rng(0)
    width, heads, size = 10, 3, 4
    qkv = random.normal(size=(3 * heads * size, width))
    bias = random.normal(size=3 * heads * size) if biased else None
    proj = random.normal(size=(width, heads * size))
    magnitudes = head_magnitudes(
        torch.from_numpy(qkv),
        torch.from_numpy(bias) if biased else None,
        torch.from_numpy(proj),
        head_dim=size,
    )
    for head in range(heads):
        # rows are ordered (q, k, v) x head x size, columns head x size
        rows = [part * heads * size + head * size + i for part in range(3) for i in range(size)]
        owned = [qkv[row, column] for row in rows for column in range(width)]
        owned += [bias[row] for row in rows] if biased else []
        owned += [proj[row, head * size + i] for row in range(width) for i in range(size)]
        assert magnitudes[head].item() == pytest.approx(sum(value**2 for value in owned) ** 0.5)


def test_magnitudes_are_relative_to_their_block():
    """A block whose weights are a hundred times larger counts the same."""
    small, large = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([100.0, 200.0, 300.0])
    assert relative_magnitudes([small, large])[0].tolist() == relative_magnitudes([small, large])[1].tolist()
    assert relative_magnitudes([small])[0].tolist() == [0.5, 1, 1.5]
    assert relative_magnitudes([torch.zeros(2)])[0].tolist() == [0, 0]


def test_class_attention_looks_from_the_class_token_at_the_patches():
    maps = torch.rand(2, 3, 4, 5)
    brute = [sum(maps[b, h, 0, j].item() for b in range(2) for h in range(3)) / 3 for j in range(1, 5)]
    assert class_attention(maps).tolist() == pytest.approx(brute, rel=1e-5)


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted), min_size=1, max_size=5),
    st.integers(0, 99),
)
def test_a_random_number_belongs_to_an_id_whatever_else_is_there(ids, seed):
    whole = random_scores([range(31)] * len(ids), seed=seed, stream=0)
    for block_ids, all_numbers, drawn in zip(ids, whole, random_scores(ids, seed=seed, stream=0)):
        assert drawn.tolist() == [all_numbers[number].item() for number in block_ids]


def test_random_numbers_differ_between_seeds_streams_and_blocks_and_are_uniform():
    def numbers(seed, stream):
        return random_scores([range(200)] * 2, seed=seed, stream=stream)

    base, other = numbers(1, 0), [numbers(2, 0)[0], numbers(1, 1)[0], numbers(1, 0)[1]]
    assert all(not torch.isin(base[0], values).any() for values in other)
    assert torch.equal(base[0], numbers(1, 0)[0])
    assert 0.4 < base[0].mean() < 0.6 and base[0].min() < 0.05 and base[0].max() > 0.95
