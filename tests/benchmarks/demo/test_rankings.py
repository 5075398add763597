"""The rankings on the demo's page, against the metrics of the runtime and against rankings written out by hand."""

import numpy as np
import pytest

from benchmarks.demo.rankings import choose_queries, rank_query, representative_rows, visible_shares
from benchmarks.stats.precisions import as_group, average_precisions, group_by_visibility, index_name
from runtime.errors import ArtifactError, DataError
from runtime.features import Features
from runtime.ranking.metrics import evaluate


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def features(rows, pids, camids, *, folder="query", model="a" * 64):
    paths = tuple(f"data/anny_reid/{folder}/{number}.jpg" for number in range(len(pids)))
    return Features(unit(rows), paths, np.array(pids), np.array(camids), model)


def random_pair(seed=0, queries=24, people=6):
    generator = np.random.default_rng(seed)
    gallery_pids = np.repeat(np.arange(1, people + 1), 8)
    gallery = features(
        generator.normal(size=(len(gallery_pids), 5)),
        gallery_pids,
        np.tile([0, 1, 2, 3], len(gallery_pids) // 4),
    )
    query_pids = generator.integers(1, people + 1, queries)
    query = features(generator.normal(size=(queries, 5)), query_pids, generator.integers(0, 4, queries))
    return query, gallery


def test_the_mean_of_the_queries_precisions_is_the_runtimes_map():
    query, gallery = random_pair()
    whole = evaluate(query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids)
    assert np.isclose(average_precisions(query, gallery).mean(), whole.mAP)


def test_a_ranking_leaves_out_the_same_camera_and_junk_and_marks_right_and_wrong():
    # Nearest first by angle: own camera, junk, another person, the right one.
    angles = np.radians([1, 2, 3, 4, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gallery = features(rows, [7, -1, 8, 7, 9], [0, 1, 1, 2, 1], folder="bounding_box_test")
    ranking = rank_query(0, features([[1, 0]], [7], [0]), gallery, 0.6, top=2)
    assert [hit.name for hit in ranking.hits] == ["bounding_box_test/2.jpg", "bounding_box_test/3.jpg"]
    assert [hit.match for hit in ranking.hits] == [False, True]
    assert ranking.first_match == 2
    assert ranking.hits[0].distance == pytest.approx(1 - np.cos(np.radians(3)), abs=1e-6)


def test_the_first_match_agrees_with_the_runtimes_cmc():
    query, gallery = random_pair(1)
    for row in range(len(query.pids)):
        query_arrays = [part[row : row + 1] for part in (query.features, query.pids, query.camids)]
        cmc = evaluate(*query_arrays, gallery.features, gallery.pids, gallery.camids).cmc
        assert rank_query(row, query, gallery, 0.5).first_match == int(np.argmax(cmc)) + 1


def test_a_query_without_a_match_and_features_of_two_models_are_refused():
    query, gallery = random_pair()
    lonely = features([[1.0, 0, 0, 0, 0]], [99], [0])
    with pytest.raises(DataError, match="query/0.jpg"):
        rank_query(0, lonely, gallery, 0.5)
    with pytest.raises(ArtifactError, match="models"):
        average_precisions(features([[1.0, 0, 0, 0, 0]], [1], [0], model="b" * 64), gallery)


def test_groups_hold_every_query_once_and_the_last_includes_its_end():
    visible = np.array([0.4, 0.5, 0.59, 0.8])
    groups = group_by_visibility(np.array([0.1, 0.2, 0.4, 1.0]), visible)
    assert [(group.low, group.high, group.queries) for group in groups] == [
        (0.4, 0.5, 1),
        (0.5, 0.6, 2),
        (0.7, 0.8, 1),
    ]
    assert [group.precision for group in groups] == pytest.approx([0.1, 0.3, 1.0])
    assert groups[1].error == pytest.approx(0.1)
    assert np.isnan(groups[0].error)


def test_the_standard_error_shrinks_with_the_number_of_queries():
    some, many = np.tile([0.0, 1.0], 8), np.tile([0.0, 1.0], 800)
    assert as_group(some, 0, 1).error > 9 * as_group(many, 0, 1).error


def test_the_chosen_queries_are_the_quartiles_of_every_group():
    visible = np.repeat([0.45, 0.75], 5)
    precisions = np.array([0.5, 0.1, 0.3, 0.2, 0.4, 0.9, 0.7, 0.6, 0.8, 1.0])
    assert representative_rows(precisions, visible) == {
        4: "upper quartile",
        3: "lower quartile",
        5: "upper quartile",
        6: "lower quartile",
    }


def test_a_group_of_one_query_is_shown_once():
    assert list(representative_rows(np.array([0.5]), np.array([0.45]))) == [0]


def test_the_last_ranking_is_the_worst_of_the_others():
    query, gallery = random_pair(2, queries=20)
    visible = np.linspace(0.4, 0.8, 20)
    chosen = choose_queries(query, gallery, visible, average_precisions(query, gallery), top=3)
    assert [ranking.role for ranking in chosen[:-1]] == ["upper quartile", "lower quartile"] * 4
    shown = {ranking.name for ranking in chosen[:-1]}
    rankings = [rank_query(row, query, gallery, 0.5) for row in range(20)]
    assert chosen[-1].role.startswith("worst")
    assert chosen[-1].first_match == max(
        ranking.first_match for ranking in rankings if ranking.name not in shown
    )


def test_visible_shares_follow_the_features_order_and_an_unlisted_image_is_named():
    query = features(np.eye(2), [1, 2], [0, 0])
    pictures = {"query/1.jpg": {"visible": 0.7}, "query/0.jpg": {"visible": 0.5}}
    assert visible_shares(query, pictures).tolist() == [0.5, 0.7]
    with pytest.raises(DataError, match="query/1.jpg"):
        visible_shares(query, {"query/0.jpg": {"visible": 0.5}})


def test_names_are_those_of_anny_json_whatever_the_folder_before():
    assert index_name("/somewhere/anny_reid/query/7001_c2s1_001000_00.jpg") == "query/7001_c2s1_001000_00.jpg"
