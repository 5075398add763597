"""The paired bootstrap: its coverage, the effect of the pairing, and precisions that agree with `evaluate`."""

import numpy as np
import pytest

from benchmarks.stats.bootstrap import paired_difference, query_precisions
from runtime.datasets import Dataset, Item
from runtime.datasets.cameras import camera_ids
from runtime.errors import ConfigError, DataError
from runtime.extraction.extract import extract
from runtime.opening import open_artifact
from runtime.ranking.metrics import evaluate
from tests.fakes.tiny_model import write_model


def test_the_interval_is_that_of_the_mean_of_paired_differences():
    random = np.random.default_rng(1)
    easy = random.uniform(0, 1, 400)
    gain = random.normal(0.05, 0.1, 400)
    comparison = paired_difference([easy], [easy + gain])
    assert comparison["difference"] == pytest.approx(gain.mean())
    half = 1.96 * gain.std() / 20
    # the normal interval of the differences; unpaired it would be more than four times as wide
    assert comparison["low"] == pytest.approx(gain.mean() - half, abs=0.15 * half)
    assert comparison["high"] == pytest.approx(gain.mean() + half, abs=0.15 * half)


def test_it_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        base = random.uniform(0, 1, 80)
        comparison = paired_difference([base], [base + random.normal(0.02, 0.1, 80)])
        hits += comparison["low"] <= 0.02 <= comparison["high"]
    assert 88 <= hits <= 99


def test_seeds_are_averaged_query_by_query():
    first = [np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.5])]
    same = paired_difference(first, [np.array([0.5, 0.5, 0.5])])
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0}
    # three seeds against two: a mean, not a sum
    assert paired_difference(first, [np.full(3, 0.75)] * 3) == pytest.approx(
        {"difference": 0.25, "low": 0.25, "high": 0.25}
    )


def test_other_queries_are_refused():
    with pytest.raises(ConfigError, match="queries"):
        paired_difference([np.zeros(3)], [np.zeros(4)])


@pytest.fixture
def people(tmp_path, request):
    from PIL import Image

    items = []
    random = np.random.default_rng(0)
    for pid in range(1, 6):
        colour = random.integers(0, 256, 3)
        for camid in (0, 1):
            path = tmp_path / f"{pid}_{camid}.png"
            pixels = np.clip(colour + random.normal(0, 70, 3) + np.zeros((32, 16, 3)), 0, 255).astype(
                np.uint8
            )
            Image.fromarray(pixels).save(path)
            items.append(Item(str(path), pid, camid))
    return Dataset("anny", str(tmp_path), (), tuple(items[::2]), tuple(items[1::2]))


def test_the_precisions_average_to_the_evaluation(tmp_path, people):
    model = write_model(tmp_path / "m.onnx")
    artifact = open_artifact(model)
    sides = []
    for items in (people.query, people.gallery):
        ids, _ = camera_ids([item.camid for item in items], artifact.spec, dataset="anny")
        extracted = extract(artifact, items, camera_ids=ids)
        sides += [extracted.features, extracted.pids, extracted.camids]
    precisions = query_precisions(model, people)
    assert precisions.shape == (5,) and precisions.mean() == pytest.approx(evaluate(*sides).mAP)
    assert precisions.std() > 0


def test_a_picture_that_cannot_be_used_stops_it(tmp_path, people):
    model = write_model(tmp_path / "m.onnx")
    (tmp_path / "1_0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="1_0.png"):
        query_precisions(model, people)
