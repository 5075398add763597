"""The cost of INT8 per group of Linears: a planted bad group is found and stays float, and no more groups than needed do."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.exporting import build_graph
from export.int8 import sensitivity
from export.int8.eval_set import PER_PERSON, EvalSet, matched_people, read_eval_set
from export.int8.groups import groups
from export.int8.quantize import calibrate, with_qdq
from export.int8.sensitivity import (
    NOTHING_LEFT,
    NOTHING_LEFT_CPU,
    Constraints,
    choose_groups,
    compare_features,
    features,
    reduce_plan,
    smallest_passing,
    violations,
    worst_first,
)
from export.options import SHIPPED
from runtime.datasets import Item
from runtime.errors import ConfigError, DataError
from tests.fakes import lite

SPEC = dataclasses.replace(lite.SPEC, layout="uint8-nhwc")
PLANTED = "block3.fc1"


def crops(count, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 4, 3))
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.uint8)


def held(count=20, queries=0):
    """Two images of each of count / 2 people from two cameras; the second image is slightly noisy."""
    half = crops(count // 2, 1)
    noisy = np.clip(half + np.random.default_rng(2).normal(0, 12, half.shape), 0, 255).astype(np.uint8)
    people, cameras = np.tile(np.arange(1, count // 2 + 1), 2), np.repeat([0, 1], count // 2)
    return EvalSet(np.concatenate([half, noisy]), cameras, SPEC, people, cameras, queries)


@pytest.fixture(scope="module")
def healthy():
    return build_graph(lite.pruned(), SPEC, "folded")[0]


@pytest.fixture(scope="module")
def planted(healthy):
    """One weight row is 1e3 times larger, and the norm before it undoes that: the function is the same, but INT8 ruins fc1."""
    graph = onnx.ModelProto()
    graph.CopyFrom(healthy)
    nodes = {node.name: node for node in graph.graph.node}
    producers = {name: node for node in graph.graph.node for name in node.output}
    (name,) = groups(graph)[PLANTED]
    norm = producers[nodes[name].input[0]]
    for tensor in graph.graph.initializer:
        if tensor.name in (nodes[name].input[1], *norm.input[1:]):
            values = numpy_helper.to_array(tensor).copy()
            values[7] *= 1e3 if tensor.name == nodes[name].input[1] else 1e-3
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return graph


def ranges_of(graph):
    fed = [{"images": crops(16, 0), "camera_ids": np.arange(16) % 5}]
    return calibrate(graph, fed)


@pytest.fixture(scope="module")
def choice(planted):
    """The plan for the planted model by cosines alone, because INT8 cannot separate the ranks of a small random model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "failures", by_cosine)
        return choose_groups(planted, ranges_of(planted), held(), target="tensorrt")


def by_cosine(numbers, limits):
    return [] if numbers["cosine_min"] >= 0.99 else ["far from the parent"]


def test_the_planted_weights_change_no_feature_of_the_float_model(healthy, planted):
    assert np.abs(features(planted, held()) - features(healthy, held())).max() < 1e-4


def test_only_the_planted_group_stays_float(choice):
    assert worst_first(choice.rows)[0] == PLANTED
    assert choice.skip == (PLANTED,) and choice.note is None
    assert choice.accuracy["cosine_min"] >= 0.99
    assert len(choice.rows) == 36 and len(choice.int8) == 35
    by_name = {row["group"]: row["cosine_min"] for row in choice.rows}
    assert by_name.pop(PLANTED) < min(by_name.values())


def test_the_table_is_json(choice):
    table = json.loads(json.dumps(choice.to_json(), allow_nan=False))
    assert table["skip"] == [PLANTED] and table["rows"][0]["group"] == "block0.qkv"
    assert set(table["rows"][0]) == {"group", "map_drop", "cosine_min", "cosine_mean", "top1", "top10"}


class Counted:
    """Stands for the models: the distance of a form's features from the parent's is the summed cost of its INT8 groups."""

    def __init__(self, patch, costs):
        self.trials = 0
        patch.setattr(sensitivity, "groups", lambda graph: dict.fromkeys(costs, []))
        patch.setattr(sensitivity, "with_qdq", lambda graph, ranges, *, target, skip: set(costs) - set(skip))
        patch.setattr(sensitivity, "features", lambda form, eval_set: form)
        patch.setattr(sensitivity, "compare_features", self.numbers)
        patch.setattr(sensitivity, "failures", lambda numbers, limits: [])
        self.costs = costs

    def numbers(self, reference, form, eval_set):
        self.trials += 1
        cost = sum(self.costs[name] for name in form)
        numbers = {"non_finite": 0, "map_drop": cost, "cosine_min": 1 - cost, "cosine_mean": 1 - cost}
        return numbers | {"top1": 1.0, "top10": 1.0}


COSTS = {"a": 0.1, "b": 5.0, "c": 0.2, "d": 0.9, "e": 0.0}


@pytest.mark.parametrize(
    "limit, skip", [(10, ()), (6.15, ("b",)), (1.3, ("b",)), (0.5, ("b", "d")), (0.05, ("a", "b", "c", "d"))]
)
def test_the_fewest_of_the_worst_groups_stay_float(limit, skip, monkeypatch):
    Counted(monkeypatch, COSTS)
    plan = choose_groups(None, {}, None, target="tensorrt", constraints=Constraints(limit))
    assert plan.skip == skip and plan.accuracy["map_drop"] <= limit


def test_groups_that_save_no_time_on_the_target_stay_float(monkeypatch):
    Counted(monkeypatch, COSTS)
    saved = {"a": 0.3, "b": 0.5, "c": -0.1, "d": 0.0}
    plan = choose_groups(None, {}, None, target="tensorrt", constraints=Constraints(1.0, saved))
    # c and d save nothing, e was not measured, b is too bad
    assert plan.slow == ("c", "d", "e") and plan.int8 == ("a",) and plan.note is None


@pytest.mark.parametrize(
    "constraints", [Constraints(10.0, {}), Constraints(-1.0), Constraints(10.0, {"a": -1.0})]
)
def test_a_plan_without_int8_groups_has_a_note(constraints, monkeypatch):
    Counted(monkeypatch, COSTS)
    plan = choose_groups(None, {}, None, target="tensorrt", constraints=constraints)
    assert plan.int8 == () and plan.skip == tuple(COSTS) and plan.note == NOTHING_LEFT
    assert len(plan.rows) == len(COSTS)


def test_an_unknown_group_is_refused_before_anything_is_measured(monkeypatch):
    models = Counted(monkeypatch, COSTS)
    with pytest.raises(ConfigError, match="no group f of .* a, b"):
        choose_groups(None, {}, None, target="tensorrt", constraints=Constraints(10.0, {"a": 0.3, "f": 1.0}))
    assert models.trials == 0


@pytest.mark.parametrize("target, note", [("tensorrt", NOTHING_LEFT), ("onnxruntime", NOTHING_LEFT_CPU)])
def test_each_refusal_of_the_gate_returns_twice_as_many_groups_to_float(target, note, monkeypatch):
    Counted(monkeypatch, COSTS)
    plans = [choose_groups(None, {}, None, target=target)]
    while plans[-1].note is None:
        plans.append(reduce_plan(plans[-1], None, {}, None, target=target, failures=[f"no {len(plans)}"]))
    assert [plan.int8 for plan in plans] == [("a", "b", "c", "d", "e"), ("a", "c", "d", "e"), ("a", "e"), ()]
    assert [plan.accuracy.get("map_drop") for plan in plans] == pytest.approx([6.2, 1.2, 0.1, None])
    assert plans[-1].note == note and plans[-1].skip == tuple(COSTS)
    assert [refusal["failures"] for refusal in plans[-1].refused] == [["no 1"], ["no 2"], ["no 3"]]
    json.dumps(plans[-1].to_json(), allow_nan=False)


def test_a_search_asks_for_few_forms(monkeypatch):
    models = Counted(monkeypatch, {f"g{index}": 1.0 for index in range(48)})
    plan = choose_groups(None, {}, None, target="tensorrt", constraints=Constraints(10.5))
    assert len(plan.int8) == 10 and models.trials <= 48 + 14


def test_the_fewest_is_exact_for_every_threshold():
    for most in range(20):
        for threshold in range(most + 1):

            def good(count, most=most, threshold=threshold):
                assert 0 <= count < most, "the last resort needs no trial"
                return count >= threshold

            assert smallest_passing(good, most) == threshold


def test_a_group_without_finite_features_is_the_worst():
    rows = [{"group": "a", "cosine_mean": 0.2}, {"group": "b", "cosine_mean": None}]
    assert worst_first(rows) == ["b", "a"]


def test_map_is_measured_only_where_identities_are_known(healthy):
    known, ranges = held(20, queries=10), ranges_of(healthy)
    before = features(healthy, known)
    after = features(with_qdq(healthy, ranges, target="onnxruntime"), known)
    numbers = compare_features(before, after, known)
    assert abs(numbers["map_drop"]) < 20
    assert compare_features(before, before, known)["map_drop"] == 0
    # queries that find nobody any more cost nearly everything that the parent had
    wrong = np.concatenate([before[:10], np.roll(before[10:], 3, axis=0)])
    assert compare_features(before, wrong, known)["map_drop"] > 30
    assert violations({"map_drop": 2.0} | compare_features(before, before, held()), Constraints(1.0))
    with pytest.raises(ConfigError, match="--max-map-drop"):
        violations(compare_features(before, before, held()), Constraints(1.0))


@pytest.mark.parametrize("persons, count, distinct", [(750, 48, 12), (750, 300, 75), (10, 48, 10)])
def test_every_held_out_query_has_a_match_from_another_camera(persons, count, distinct):
    """Evenly spaced images of a large data set would show a person once."""

    def item(pid, camid):
        return Item(f"{pid:04}_c{camid}.jpg", pid, camid)

    query = [item(pid, camid) for pid in range(1, persons + 1) for camid in (0, 3)]
    gallery = [item(pid, camid) for pid in range(1, persons + 1) for camid in (0, 0, 0, 1, 2, 3, 4, 5)]
    # nobody else saw these, and nobody asks for those
    query += [item(9001, 2)]
    gallery += [item(9001, 2), *(item(0, camid) for camid in range(5)), item(9002, 1)]
    chosen_queries, chosen_gallery = matched_people(query, gallery, count)
    assert count - distinct <= len(chosen_queries) + len(chosen_gallery) <= count
    assert (
        len({query_item.pid for query_item in chosen_queries})
        == distinct
        == len({gallery_item.pid for gallery_item in chosen_gallery})
    )
    for query_item in chosen_queries:
        assert any(
            other.pid == query_item.pid and other.camid != query_item.camid for other in chosen_gallery
        )
    assert matched_people(query[-1:], gallery, count) == ([], [])


def test_held_out_images_are_test_images_with_their_cameras():
    spec = dataclasses.replace(SPEC, cameras=4, dataset="anny")
    eval_set = read_eval_set(SHIPPED, spec, count=90)
    assert 90 - PER_PERSON < len(eval_set.images) <= 90 and 0 < eval_set.queries < 30
    assert set(eval_set.camera_rows) <= {0, 1, 2, 3} and len(eval_set.pids) == len(eval_set.images)
    with pytest.raises(DataError, match="nowhere.*--check"):
        read_eval_set("nowhere", spec)
