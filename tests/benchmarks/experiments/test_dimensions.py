"""The measurement of fewer numbers: its projection is that of the export, and its scores are those of the features that it gets."""

import numpy as np
import pytest

from benchmarks.experiments import dimensions, short_features
from export.projection.matrix import Projection, directions
from runtime.entry import guarded
from runtime.features import Features
from runtime.ranking.metrics import evaluate

DIM = 64


def part(pids, camids, seed):
    """Return features of people in cameras: a vector for each person, an offset for each camera, and noise."""
    random = np.random.default_rng(seed)
    people, cameras = np.random.default_rng(5).normal(size=(90, DIM)), np.eye(4, DIM)
    values = people[pids] + 4 * cameras[camids] + random.normal(0, 1.6, (len(pids), DIM))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    names = tuple(f"{seed}-{number}.jpg" for number in range(len(pids)))
    return Features(values.astype(np.float32), names, np.array(pids), np.array(camids), "m" * 64)


def dataset(first):
    train = np.repeat(np.arange(first, first + 30), 4)
    test = np.repeat(np.arange(first + 30, first + 40), 2)
    return {
        "train": part(train, np.tile([0, 0, 1, 1], 30), first),
        "query": part(test, np.zeros(20, int), first + 1),
        "gallery": part(test, np.ones(20, int), first + 2),
    }


def test_the_scores_are_those_of_numpy_and_the_calibration_helps():
    rendered, real = dataset(0), dataset(40)
    rows = list(short_features.scores(rendered, real, dims=(24, 48)))
    assert [(row["fit"], row["dim"]) for row in rows] == [
        (None, DIM),
        *((fit, dim) for fit in ("rendered", "real", "both") for dim in (24, 48)),
    ]
    query, gallery = real["query"], real["gallery"]
    plain = evaluate(query.features, query.pids, query.camids, gallery.features, gallery.pids, gallery.camids)
    assert rows[0]["real"]["mAP"] == pytest.approx(plain.mAP)
    assert rows[0]["calibrated"]["mAP"] > rows[0]["real"]["mAP"]
    assert rows[1]["real"]["mAP"] < rows[0]["real"]["mAP"]
    low, high = rows[1]["minus_all_95"]["real"]
    assert low <= rows[1]["real"]["mAP"] - rows[0]["real"]["mAP"] <= high


def test_the_projection_is_that_of_the_export():
    known, unseen = dataset(0)["train"].features, dataset(40)["query"].features
    _, _, rows = np.linalg.svd(known.astype(np.float64), full_matrices=False)
    ours = short_features.projected(unseen, rows[:5].T)
    theirs = Projection(directions(known)[:, :5], len(known), "0" * 64).apply(unseen)
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 1e-5


def test_a_gallery_of_fewer_numbers_is_smaller_by_their_bytes():
    sizes = [short_features.gallery_bytes(dim) for dim in (8, 24)]
    assert sizes[1] - sizes[0] == pytest.approx(1000 * 4 * 16, rel=0.01)


def test_a_model_without_a_name_is_refused(tmp_path, capsys):
    words = ["--model", "m.onnx", "--other", str(tmp_path), "--out", str(tmp_path / "o.json")]
    assert guarded(dimensions.main, words) == 2
    assert "NAME=MODEL" in capsys.readouterr().err
