"""runtime.ranking.rerank against a dense form written here from the definition, and against the authors' numbers."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ArtifactError, ConfigError, DataError
from runtime.ranking.metrics import evaluate_distances
from runtime.ranking.rerank import nearest_neighbours, rerank

GOLDEN = json.loads((Path(__file__).resolve().parents[2] / "data" / "eval.json").read_text())


def dense(query, gallery, k1, k2, weight):
    """Re-ranked distances (Q, G) in float64, every matrix whole, every set a Python set."""
    rows = np.concatenate([query, gallery]).astype(np.float64)
    squared = np.maximum(((rows[:, None] - rows[None]) ** 2).sum(axis=2), 0)
    distance = squared / squared.max(axis=1, keepdims=True)
    ranking = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(i, k):
        return {int(j) for j in ranking[i, : k + 1] if i in ranking[j, : k + 1]}

    weights = np.zeros_like(distance)
    for i in range(len(rows)):
        own = reciprocal(i, k1)
        expanded = set(own)
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2))
            if 3 * len(theirs & own) > 2 * len(theirs):
                expanded |= theirs
        members = sorted(expanded)
        values = np.exp(-distance[i, members])
        # Nothing where k1 + 1 duplicates come before i: then i is not among its own neighbours.
        weights[i, members] = values / values.sum() if members else values
    if k2 > 1:
        weights = np.stack([weights[ranking[i, :k2]].mean(axis=0) for i in range(len(rows))])
    shared = np.minimum(weights[: len(query), None], weights[None, len(query) :]).sum(axis=2)
    jaccard = 1 - shared / (2 - shared)
    return (1 - weight) * jaccard + weight * distance[: len(query), len(query) :]


def clustered(seed, queries, gallery, dim=16, people=8, noise=0.7):
    random = np.random.default_rng(seed)
    centres = random.standard_normal((people, dim))
    rows = centres[random.integers(0, people, queries + gallery)]
    rows = (rows + noise * random.standard_normal(rows.shape)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[:queries], rows[queries:]


def whole(*features, **options):
    return np.concatenate(list(rerank(*features, **options)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "k1, k2, weight", [(20, 6, 0.3), (50, 15, 0.3), (7, 1, 0.0), (1, 2, 1.0), (5, 3, 0.5)]
)
def test_equals_the_dense_form(seed, k1, k2, weight):
    query, gallery = clustered(seed, 23, 140)
    distances = whole(query, gallery, k1=k1, k2=k2, weight=weight)
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, dense(query, gallery, k1, k2, weight), atol=1e-5, rtol=0)


@pytest.mark.parametrize("queries, gallery", [(1, 1), (1, 4), (3, 2), (5, 12)])
def test_a_set_smaller_than_its_neighbourhoods(queries, gallery):
    features = clustered(9, queries, gallery)
    np.testing.assert_allclose(whole(*features), dense(*features, 20, 6, 0.3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_equal_distances_rank_by_index(seed):
    # Entries of +-1/4: unit vectors whose distances are exact, with many duplicates and ties.
    rows = np.random.default_rng(seed).choice([-0.25, 0.25], (90, 16)).astype(np.float32)
    rows[:, 4:] = 0.25
    np.testing.assert_allclose(
        whole(rows[:12], rows[12:], k1=6, k2=3), dense(rows[:12], rows[12:], 6, 3, 0.3), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("signs", [16, 5])
@pytest.mark.parametrize("size, count", [(1000, 5), (997, 21), (40, 40), (7, 30)])
def test_nearest_is_a_stable_sort(signs, size, count):
    rows = np.random.default_rng(size).choice([-0.25, 0.25], (size, 16)).astype(np.float32)
    rows[:, signs:] = 0.25
    squared = 2 - 2 * rows @ rows.T
    neighbours, farthest = nearest_neighbours(rows, count, block=64)
    assert np.array_equal(neighbours, np.argsort(squared, axis=1, kind="stable")[:, :count])
    assert np.array_equal(farthest, squared.max(axis=1))


def test_block_size_changes_nothing_but_the_blocks():
    features = clustered(1, 23, 140)
    blocks = list(rerank(*features, block=10))
    assert [block.shape for block in blocks] == [(10, 140), (10, 140), (3, 140)]
    np.testing.assert_allclose(np.concatenate(blocks), whole(*features), atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"seed{case['seed']}")
def test_the_authors_re_ranking(case):
    random = np.random.RandomState(case["seed"])
    centres = random.standard_normal((case["ids"], case["dim"])).astype(np.float32)
    pids = [random.randint(0, case["ids"], case[side]) for side in "QG"]
    camids = [random.randint(0, case["cams"], case[side]) for side in "QG"]
    noise = [case["noise"] * random.standard_normal((case[side], case["dim"])) for side in "QG"]
    rows = [(centres[ids] + off).astype(np.float32) for ids, off in zip(pids, noise)]
    query, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in rows)
    metrics = evaluate_distances(rerank(query, gallery), pids[0] + 1, camids[0], pids[1] + 1, camids[1])
    assert metrics.mAP == pytest.approx(case["rr_mAP"], abs=1e-5)
    assert metrics.cmc[0] == pytest.approx(case["rr_R1"], abs=1e-5)


def test_re_ranking_helps_where_people_cluster():
    random = np.random.default_rng(3)
    centres = random.standard_normal((30, 32))
    pids = random.integers(0, 30, 640)
    rows = (centres[pids] + 1.5 * random.standard_normal((640, 32))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query, gallery, cameras = rows[:40], rows[40:], np.arange(640) % 6
    ids = (pids[:40] + 1, cameras[:40], pids[40:] + 1, cameras[40:])
    before = evaluate_distances([1 - query @ gallery.T], *ids).mAP
    assert evaluate_distances(rerank(query, gallery), *ids).mAP > before + 0.05


def test_identical_features_give_finite_distances():
    rows = np.full((30, 4), 0.5, np.float32)
    assert np.isfinite(whole(rows[:5], rows[5:])).all()


def test_no_matrix_of_all_pairs_is_ever_held():
    query, gallery = clustered(2, 300, 3700, people=200)
    tracemalloc.start()
    try:
        for _ in rerank(query, gallery, block=32):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4000 * 4000 * 4 / 2


def test_mistakes_are_reported_at_the_call():
    query, gallery = clustered(0, 4, 9)
    for options in ({"k1": 0}, {"k2": 0}, {"weight": 1.5}):
        with pytest.raises(ConfigError, match="k1, k2 >= 1"):
            rerank(query, gallery, **options)
    with pytest.raises(ArtifactError, match="with the same model"):
        rerank(query, gallery[:, :8] / np.linalg.norm(gallery[:, :8], axis=1, keepdims=True))
    gallery[3, 0] = np.nan
    with pytest.raises(DataError, match="gallery feature 3 is not finite"):
        rerank(query, gallery)
