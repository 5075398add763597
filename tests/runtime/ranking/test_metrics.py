"""runtime.ranking.metrics against exact fractions, public packages, the authors' numbers and cases done by hand."""

import json
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from runtime.errors import ArtifactError, DataError
from runtime.ranking.metrics import Metrics, evaluate, evaluate_distances

GOLDEN = json.loads((Path(__file__).resolve().parents[2] / "data" / "eval.json").read_text())


def golden_set(case):
    """The features of one golden case: query and gallery, each (features, pids, camids)."""
    random = np.random.RandomState(case["seed"])
    centres = random.standard_normal((case["ids"], case["dim"])).astype(np.float32)
    q_pids = random.randint(0, case["ids"], case["Q"])
    g_pids = random.randint(0, case["ids"], case["G"])
    q_camids, g_camids = (
        random.randint(0, case["cams"], case["Q"]),
        random.randint(0, case["cams"], case["G"]),
    )
    features = []
    for pids in (q_pids, g_pids):
        rows = centres[pids] + case["noise"] * random.standard_normal((len(pids), case["dim"]))
        rows = rows.astype(np.float32)
        features.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    # The recipe counts people from 0, which is the distractor's number here.
    return (features[0], q_pids + 1, q_camids), (features[1], g_pids + 1, g_camids)


def unit_set(seed, queries=20, gallery=150, dim=8, people=6, cameras=3):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((queries + gallery, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pids, camids = random.integers(1, people + 1, len(rows)), random.integers(0, cameras, len(rows))
    return (rows[:queries], pids[:queries], camids[:queries]), (
        rows[queries:],
        pids[queries:],
        camids[queries:],
    )


def kept_ranking(distances, pid, camid, g_pids, g_camids):
    """Relevance, nearest first, of what the rules leave; plain Python."""
    order = sorted(range(len(g_pids)), key=lambda g: (distances[g], g))
    kept = [g for g in order if g_pids[g] != -1]
    kept = [g for g in kept if g_pids[g] != pid or g_camids[g] != camid or camid == -1 or pid == 0]
    return [(bool(g_pids[g] == pid and pid > 0), distances[g]) for g in kept]


def exact(distances, q_pids, q_camids, g_pids, g_camids, max_rank):
    """Every metric in exact fractions, walking each ranking image by image as the definitions do."""
    ap, trapezoid, inp, ties, cmc = [], [], [], 0, [0] * max_rank
    for row, pid, camid in zip(distances, q_pids, q_camids):
        ranking = kept_ranking(row, pid, camid, g_pids, g_camids)
        total = sum(match for match, _ in ranking)
        if total == 0:
            continue
        wrong = {distance for match, distance in ranking if not match}
        ties += sum(match and distance in wrong for match, distance in ranking)
        matches, precisions, area = 0, [], Fraction(0)
        old_recall, old_precision = Fraction(0), Fraction(1)
        for rank, (match, _) in enumerate(ranking, 1):
            matches += match
            recall, precision = Fraction(matches, total), Fraction(matches, rank)
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
            if match:
                precisions.append(precision)
                last = rank
        first = [match for match, _ in ranking].index(True)
        cmc = [count + (first <= at) for at, count in enumerate(cmc)]
        ap.append(sum(precisions) / total)
        trapezoid.append(area)
        inp.append(Fraction(total, last))
    scored = len(ap)
    return {
        "mAP": sum(ap) / scored,
        "mAP_market_matlab": sum(trapezoid) / scored,
        "mINP": sum(inp) / scored,
        "cmc": [Fraction(count, scored) for count in cmc],
        "ties": ties,
        "queries_without_match": len(q_pids) - scored,
    }


def one(row, pid, camid, g_pids, g_camids, **options) -> Metrics:
    return evaluate_distances([[row]], [pid], [camid], g_pids, g_camids, **options)


@st.composite
def tie_rich_sets(draw):
    queries, gallery = draw(st.integers(1, 6)), draw(st.integers(1, 14))

    def ids(size, low, high):
        return draw(st.lists(st.integers(low, high), min_size=size, max_size=size))

    distances = [ids(gallery, 0, 5) for _ in range(queries)]
    return distances, ids(queries, -1, 3), ids(queries, -1, 2), ids(gallery, -1, 3), ids(gallery, -1, 2)


@settings(max_examples=500, deadline=None)
@given(tie_rich_sets(), st.integers(1, 20), st.integers(1, 6))
def test_every_metric_equals_exact_fractions_also_with_ties(case, max_rank, block):
    distances, *ids = case
    rows = [distances[start : start + block] for start in range(0, len(distances), block)]
    try:
        expected = exact(distances, *ids, max_rank)
    except ZeroDivisionError:
        with pytest.raises(DataError, match="has a match"):
            evaluate_distances(rows, *ids, max_rank=max_rank)
        return
    metrics = evaluate_distances(rows, *ids, max_rank=max_rank)
    for name in ("mAP", "mAP_market_matlab", "mINP"):
        assert getattr(metrics, name) == pytest.approx(float(expected[name]), abs=1e-12), name
    assert metrics.cmc == pytest.approx(list(map(float, expected["cmc"])), abs=1e-12)
    assert (metrics.ties, metrics.queries_without_match) == (
        expected["ties"],
        expected["queries_without_match"],
    )
    assert metrics.queries == len(distances)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"seed{case['seed']}")
def test_the_authors_evaluator(case):
    query, gallery = golden_set(case)
    metrics = evaluate(*query, *gallery, block=50).to_json()
    assert metrics == pytest.approx(
        metrics | {name: case[name] for name in ("mAP", "R1", "R5", "R10")}, abs=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_features_score_as_sklearn_does(seed):
    query, gallery = unit_set(seed)
    precisions = []
    for feature, pid, camid in zip(*query):
        kept = (gallery[1] != pid) | (gallery[2] != camid)
        precisions.append(average_precision_score(gallery[1][kept] == pid, gallery[0][kept] @ feature))
    assert evaluate(*query, *gallery).mAP == pytest.approx(np.mean(precisions), abs=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_features_score_as_torchmetrics_does(seed):
    retrieval = pytest.importorskip(
        "torchmetrics.functional.retrieval", reason="torchmetrics is not installed"
    )
    torch = pytest.importorskip("torch", reason="torch is not installed")
    query, gallery = unit_set(seed)
    precisions = []
    for feature, pid, camid in zip(*query):
        kept = (gallery[1] != pid) | (gallery[2] != camid)
        # torchmetrics leaves out what scores 0 or less: feed it 10 - distance.
        scores = torch.from_numpy(10 - (2 - 2 * gallery[0][kept] @ feature))
        relevant = torch.from_numpy(gallery[1][kept] == pid)
        precisions.append(float(retrieval.retrieval_average_precision(scores, relevant)))
    assert evaluate(*query, *gallery).mAP == pytest.approx(np.mean(precisions), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_order_of_queries_and_gallery_does_not_matter(seed):
    query, gallery = unit_set(seed, queries=6, gallery=30)
    distances = 1 - query[0] @ gallery[0].T
    random = np.random.default_rng(seed)
    q, g = random.permutation(len(distances)), random.permutation(len(gallery[1]))
    before = evaluate_distances([distances], *query[1:], *gallery[1:])
    after = evaluate_distances([distances[q][:, g]], query[1][q], query[2][q], gallery[1][g], gallery[2][g])
    assert after.to_json() == pytest.approx(before.to_json(), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_far_distractor_changes_nothing(seed, pid):
    query, gallery = unit_set(seed, queries=6, gallery=30)
    distances = 1 - query[0] @ gallery[0].T
    before = evaluate_distances([distances], *query[1:], *gallery[1:]).to_json()
    far = np.hstack([distances, np.full((len(distances), 1), 99.0)])
    nobody = 0 if pid <= 6 else 7
    after = evaluate_distances([far], *query[1:], [*gallery[1], nobody], [*gallery[2], 0]).to_json()
    assert after == before


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_a_perfect_ranking_scores_one(seed):
    query, gallery = unit_set(seed, queries=6, gallery=30)
    other = query[1][:, None] != gallery[1]
    metrics = evaluate_distances([other + 0.01 * np.arange(30)], *query[1:], *gallery[1:])
    assert metrics.to_json() == {
        **dict.fromkeys(("mAP", "R1", "R5", "R10", "mINP", "mAP_market_matlab"), 1.0),
        "queries": 6,
        "queries_without_match": metrics.queries_without_match,
        "ties": 0,
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_cmc_rises_and_keeps_its_last_value_beyond_the_gallery(seed, max_rank):
    query, gallery = unit_set(seed, queries=6, gallery=30)
    cmc = evaluate(*query, *gallery, max_rank=max_rank).cmc
    assert cmc.shape == (max_rank,) and (np.diff(cmc) >= 0).all()
    assert (cmc[29:] == 1).all()


def test_cmc_of_a_gallery_smaller_than_ten_images_still_gives_r10():
    metrics = one([1, 2, 3], 1, 0, [2, 2, 1], [1, 1, 1])
    assert metrics.to_json()["R1"] == 0 and metrics.to_json()["R5"] == metrics.to_json()["R10"] == 1


@pytest.mark.parametrize("g_pids, ap", [([1, 2, 2], 1), ([2, 1, 2], 1 / 2), ([2, 2, 1], 1 / 3)])
def test_equal_distances_keep_the_gallery_order_and_are_counted(g_pids, ap):
    metrics = one([4, 4, 4], 1, 0, g_pids, [1, 1, 1])
    assert (metrics.mAP, metrics.ties) == (pytest.approx(ap), 1)


def test_ties_among_matches_only_are_no_ties():
    assert one([4, 4, 5], 1, 0, [1, 1, 2], [1, 1, 1]).ties == 0


def test_same_person_same_camera_is_removed():
    assert one([1, 2, 3], 1, 0, [1, 2, 1], [0, 0, 1]).mAP == 1 / 2


def test_junk_is_removed():
    assert one([1, 2, 3], 1, 0, [-1, -1, 1], [1, 0, 1]).mAP == 1


def test_distractors_stay_and_never_match():
    assert one([1, 2], 1, 0, [0, 1], [1, 1]).mAP == 1 / 2
    with pytest.raises(DataError, match="none of 1 queries has a match"):
        one([1, 2], 0, 0, [0, 1], [1, 1])


def test_a_query_of_an_unknown_camera_loses_no_match():
    assert one([1, 2, 3], 1, -1, [1, 2, 1], [-1, 0, 1]).mAP == pytest.approx((1 + 2 / 3) / 2)


def test_a_query_without_match_is_counted_and_not_scored():
    metrics = evaluate_distances([[[1, 2], [1, 2]]], [1, 2], [0, 0], [1, 2], [1, 0])
    assert (metrics.mAP, metrics.queries, metrics.queries_without_match) == (1, 2, 1)


def test_matlab_precision_counted_by_hand():
    # Matches at ranks 1 and 3: ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2.
    metrics = one([1, 2, 3], 1, 0, [1, 2, 1], [1, 1, 1])
    assert metrics.mAP_market_matlab == pytest.approx(19 / 24)
    assert metrics.mAP == pytest.approx(5 / 6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error_that_names_its_row(value):
    query, gallery = unit_set(0)
    distances = 1 - query[0] @ gallery[0].T
    distances[13, 7] = value
    with pytest.raises(DataError, match="query 13 is not finite"):
        evaluate_distances([distances[:8], distances[8:]], *query[1:], *gallery[1:])
    gallery[0][140, 3] = value
    with pytest.raises(DataError, match="gallery feature 140 is not finite"):
        evaluate(*query, *gallery, block=32)


def test_features_that_do_not_belong_together_are_refused():
    query, gallery = unit_set(0)
    narrow = unit_set(0, dim=4)[1]
    with pytest.raises(ArtifactError, match="8 values.*4"):
        evaluate(*query, *narrow)
    with pytest.raises(ArtifactError, match="query feature [0-9]+ has norm 2"):
        evaluate(query[0] * 2, *query[1:], *gallery)
    with pytest.raises(ArtifactError, match="shape"):
        evaluate(query[0][0], *query[1:], *gallery)
    with pytest.raises(DataError, match="gallery.* empty"):
        evaluate(*query, np.empty((0, 8)), [], [])
    with pytest.raises(ArtifactError, match="pids"):
        evaluate(query[0], query[1][:-1], query[2], *gallery)


@pytest.mark.parametrize("rows", [slice(0, 19), slice(0, 20)])
def test_distances_of_another_size_are_refused(rows):
    query, gallery = unit_set(0)
    distances = 1 - query[0] @ gallery[0].T
    blocks = [distances[rows]] if rows.stop == 19 else [distances, distances[:1]]
    with pytest.raises(ArtifactError, match="19|from query 20"):
        evaluate_distances(blocks, *query[1:], *gallery[1:])
    with pytest.raises(ArtifactError, match="20 x 150"):
        evaluate_distances([distances[:, 1:]], *query[1:], *gallery[1:])


def test_block_size_changes_nothing_and_the_caller_keeps_his_distances():
    query, gallery = unit_set(4)
    whole, blocks = evaluate(*query, *gallery, block=999), evaluate(*query, *gallery, block=3)
    assert blocks.to_json() == whole.to_json()
    distances = 1 - query[0] @ gallery[0].T
    before = distances.copy()
    evaluate_distances([distances], *query[1:], *gallery[1:])
    assert np.array_equal(distances, before)


def test_the_whole_distance_matrix_is_never_held():
    query, gallery = unit_set(5, queries=512, gallery=8000)
    tracemalloc.start()
    try:
        evaluate(*query, *gallery, block=16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 512 * 8000 * 4 / 4
