"""Zero-shot scores of one camera against another: against a hand-made ranking, and what is averaged over."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments import transfer, zero_shot
from runtime.datasets import Dataset, Item
from runtime.entry import guarded
from runtime.features import Features
from tests.fakes import tiny_model


def features(rows, pids, camids) -> Features:
    unit = np.array(rows, np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    paths = tuple(f"{index}.jpg" for index in range(len(rows)))
    return Features(features=unit, paths=paths, pids=np.array(pids), camids=np.array(camids), model="m")


def test_a_camera_that_adds_the_same_to_everyone_is_undone_by_its_mean():
    random = np.random.default_rng(0)
    people = random.normal(size=(6, 8)).astype(np.float32)
    shift = 4 * random.normal(size=8).astype(np.float32)
    rows = np.concatenate([people, people + shift])
    camids = np.repeat([0, 1], 6)
    centred = zero_shot.centred(rows, camids)
    assert np.linalg.norm(centred, axis=1) == pytest.approx(np.ones(12), abs=1e-6)
    assert centred[:6] == pytest.approx(centred[6:], abs=1e-5)


def test_the_interval_holds_the_mean_over_people_and_is_a_point_where_all_are_alike():
    extracted = features([[1, 0], [0, 1], [1, 0.1], [0.1, 1]], [5, 6, 5, 6], [0, 0, 1, 1])
    assert zero_shot.interval(zero_shot.per_person(extracted, 0, 1)) == {"R1": [1.0, 1.0], "mAP": [1.0, 1.0]}
    wrong = features([[1, 0], [0, 1], [1, 0.1], [1, 0.1]], [5, 6, 5, 6], [0, 0, 1, 1])
    scores = zero_shot.per_person(wrong, 0, 1)
    assert scores["mAP"] == [1.0, 0.5]
    low, high = zero_shot.interval(scores)["mAP"]
    assert low < (1.0 + 0.5) / 2 < high


def test_the_difference_of_two_models_is_taken_person_by_person():
    # both vary much between people, but the second is better by 0.1 for each of them
    first = {"per_person": {"R1": [0.1, 0.5, 0.9], "mAP": [0.0, 0.4, 0.8]}}
    better = {"per_person": {"R1": [0.2, 0.6, 1.0], "mAP": [0.1, 0.5, 0.9]}}
    for low, high in zero_shot.difference(first, better).values():
        assert (low, high) == pytest.approx((0.1, 0.1))


def test_every_part_of_a_data_set_is_chosen_by_name():
    train, query, gallery = ((Item(name, 1, 0),) for name in ("a", "b", "c"))
    dataset = Dataset("market1501", "x", train, query, gallery)
    assert zero_shot.pictures(dataset, "all") == train + query + gallery
    assert zero_shot.pictures(dataset, "test") == query + gallery
    assert zero_shot.pictures(dataset, "train") == train


def test_the_command_scores_one_camera_against_another_and_names_a_camera_without_pictures(tmp_path, capsys):
    model = tiny_model.write_model(tmp_path / "tiny.onnx")
    data = Path(__file__).resolve().parents[3] / "data" / "anny_reid"
    words = [str(model), "--data", str(data), "--split", "test", "--json"]
    assert guarded(transfer.main, [*words, "--query-camera", "2", "--gallery-camera", "0"]) == 0
    result = json.loads(capsys.readouterr().out)["models"][0]
    shown = [entry["camid"] for entry in json.loads((data / "anny.json").read_text())["images"].values()]
    assert result["people"] == 60 and 180 < result["queries"] < len(shown)
    assert result["interval_95"]["mAP"][0] < result["plain"]["mAP"] < result["interval_95"]["mAP"][1]
    assert guarded(transfer.main, [*words, "--gallery-camera", "9"]) == 2
    assert "camera 9" in capsys.readouterr().err
