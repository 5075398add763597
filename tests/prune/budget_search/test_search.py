"""The search: the frontier against brute force, the goals, and the counts of the pruned model."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from prune.budget_search.goal import Goal, parse_goal
from prune.budget_search.search import (
    FeatureDrift,
    Option,
    Point,
    Scores,
    block_options,
    cheapest_above,
    features_of,
    frontier,
    least_drift_within,
    measure_feature_drift,
    neuron_counts,
    prune_to_counts,
    token_counts,
)
from prune.model.variants import VARIANTS
from runtime.errors import ConfigError
from tests.fakes import lite


def random_blocks(seed, blocks=3, options=6):
    random = np.random.default_rng(seed)
    return [
        [Option(h, h, h, float(random.uniform(1, 5)), float(random.uniform(0, 1))) for h in range(options)]
        for _ in range(blocks)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_frontier_is_what_trying_everything_finds(seed):
    blocks = random_blocks(seed)
    every = [
        (sum(o.cost for o in mix), sum(o.feature_drift for o in mix)) for mix in itertools.product(*blocks)
    ]
    points = frontier(blocks, 10.0)
    for budget in np.linspace(min(cost for cost, _ in every), max(cost for cost, _ in every), 30):
        best = min(damage for cost, damage in every if cost <= budget)
        # costs are rounded to a 4000th of the range, block by block
        slack = 3 * 12 / 4000
        ours = [point.feature_drift for point in points if point.cost <= 10 + budget + slack]
        assert min(ours) <= best + 1e-9
    assert all(
        any(abs(p.cost - 10 - c) < 1e-9 and abs(p.feature_drift - d) < 1e-9 for c, d in every) for p in points
    )


def test_the_frontier_rises_in_cost_and_falls_in_feature_drift():
    points = frontier(random_blocks(1, blocks=7), 0)
    assert all(a.cost < b.cost and a.feature_drift > b.feature_drift for a, b in itertools.pairwise(points))


def test_an_option_that_costs_more_and_drifts_as_much_is_left_out():
    given = FeatureDrift({2: 0.0, 1: 0.5}, {9: 0.0, 5: 0.0}, {8: 0.0, 4: 0.2})
    options = block_options(given, lambda heads, tokens, hidden: heads * tokens + hidden)
    # both heads with half the neurons cost 14, one head with all of them 13; with half 9
    assert [(option.heads, option.tokens, option.hidden, option.feature_drift) for option in options] == [
        (1, 5, 4, pytest.approx(0.7)), (1, 5, 8, 0.5), (2, 5, 4, 0.2), (2, 5, 8, 0.0),
    ]  # fmt: skip


def test_the_point_within_a_goal_has_the_least_drift_and_an_impossible_goal_is_refused():
    points = [
        Point((h,), (t,), (8,), c, d) for h, t, c, d in ((1, 2, 1.0, 9.0), (2, 2, 2.0, 5.0), (2, 3, 3.0, 1.0))
    ]
    assert least_drift_within(points, Goal("latency_ms", 2.9)).cost == 2.0
    with pytest.raises(ConfigError, match=r"latency_ms=0\.5.*costs 1\b"):
        least_drift_within(points, Goal("latency_ms", 0.5))


def test_an_accuracy_is_reached_by_the_cheapest_point_with_few_measurements():
    points = [Point((1,), (index,), (8,), float(index), float(-index)) for index in range(100)]
    measured = []

    def measure(point):
        measured.append(point)
        return point.cost / 100

    assert cheapest_above(points, Goal("map", 0.42), measure).cost == 42 and len(measured) < 12
    with pytest.raises(ConfigError, match=r"map=0\.995.*0\.990"):
        cheapest_above(points, Goal("map", 0.995), measure)


@pytest.mark.parametrize(
    "text", ["", "latency_ms", "latency_ms=", "latency_ms=-1", "map=2", "map=nan", "speed=3", "macs=inf"]
)
def test_an_invalid_goal_is_refused(text):
    with pytest.raises(ConfigError, match="--goal"):
        parse_goal(text)
    assert parse_goal("macs=1.2e8") == Goal("macs", 1.2e8)


def scores_for(architecture, seed=0):
    random = torch.Generator().manual_seed(seed)
    heads = [torch.rand(architecture.vit.heads, generator=random) for _ in range(architecture.prunable)]
    tokens = [torch.rand(architecture.patches, generator=random) for _ in range(architecture.prunable)]
    neurons = [torch.rand(architecture.vit.hidden, generator=random) for _ in range(architecture.prunable)]
    return Scores(heads, tokens, neurons)


def test_the_pruned_model_has_the_counts_and_lost_the_lowest():
    model = lite.model()
    architecture, scores = model.architecture, scores_for(model.architecture)
    heads, tokens, neurons = scores
    kept_heads, kept_tokens = [6, 5, 4, 3, 2, 1, 6], [22, 20, 15, 12, 9, 4, 2]
    widths = [768, 8, 9, 768, 100, 400, 767]
    pruned = prune_to_counts(model, kept_heads, kept_tokens, widths, scores)
    blocks = pruned.architecture.blocks[: architecture.prunable]
    assert list(pruned.architecture.hidden) == widths
    best = neurons[1].topk(8).indices.sort().values
    weights = [network.base.blocks[1].mlp.fc1.weight for network in (pruned, model)]
    assert torch.equal(weights[0], weights[1][best])
    assert [len(block.heads) for block in blocks] == kept_heads
    assert [len(block.tokens) for block in blocks] == kept_tokens
    for block, head_scores, token_scores in zip(blocks, heads, tokens):
        gone = sorted(set(range(6)) - set(block.heads))
        assert not gone or head_scores[gone].max() < head_scores[list(block.heads)].min()
        patches = [token - 1 for token in block.tokens if token]
        rest = sorted(set(range(architecture.patches)) - set(patches))
        assert block.tokens[0] == 0 and (not rest or token_scores[rest].max() < token_scores[patches].min())


@pytest.fixture
def three_blocks(monkeypatch):
    """A model of three prunable blocks: each count of each block is a pass through all of them."""
    monkeypatch.setitem(VARIANTS, "vit_lite", dataclasses.replace(VARIANTS["vit_lite"], depth=4))
    return lite.model()


def test_damage_is_measured_one_block_at_a_time_and_never_falls_with_fewer(three_blocks):
    model = three_blocks
    scores, batches = scores_for(model.architecture), [lite.batch(4), lite.batch(4, seed=1)]
    table = measure_feature_drift(model, scores, batches)
    assert len(table) == model.architecture.prunable == 3
    for heads, tokens, neurons in table:
        assert heads[6] == 0 and tokens[model.architecture.tokens] == 0 and set(heads) == set(range(1, 7))
        assert neurons[768] == 0 and set(neurons) == set(neuron_counts(768))
        for drifts in (heads, tokens, neurons):
            values = [drifts[count] for count in sorted(drifts)]
            assert values == sorted(values, reverse=True) and values[0] > 0
    whole = features_of(model, batches)
    features = features_of(prune_to_counts(model, [6, 6, 1], [22] * 3, [768] * 3, scores), batches)
    assert table[2].heads[1] <= float((1 - (features * whole).sum(dim=1)).mean()) + 1e-6
    features = features_of(prune_to_counts(model, [6] * 3, [22] * 3, [768, 192, 768], scores), batches)
    assert table[1].neurons[192] == pytest.approx(float((1 - (features * whole).sum(dim=1)).mean()), abs=1e-6)


def test_what_is_not_searched_over_stays_whole_and_needs_no_scores(three_blocks):
    model = three_blocks
    scores = scores_for(model.architecture)._replace(neurons=())
    table = measure_feature_drift(model, scores, [lite.batch(2)], over=("heads", "tokens"))
    assert all(drift.neurons == {768: 0.0} and len(drift.heads) == 6 for drift in table)


def test_token_counts_begin_with_all_and_keep_two_at_least():
    assert token_counts(51)[0] == 51 and min(token_counts(3)) == 2
    assert neuron_counts(768)[0] == 768 and all(count % 8 == 0 for count in neuron_counts(768))
    assert neuron_counts(20) == [20, 16, 8] and neuron_counts(5) == [5]
    assert json.dumps(token_counts(22)) == json.dumps(sorted(set(token_counts(22)), reverse=True))
