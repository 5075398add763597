"""Confidence intervals of ratios: against known distributions, and documents that do or do not belong together."""

import json
import tracemalloc

import numpy as np
import pytest

from benchmarks.bench.compare import compare, read_run
from benchmarks.stats.interval import interval
from runtime.errors import ConfigError


def rounds(middle, count=200, seed=0, spread=0.05):
    return middle * np.exp(spread * np.random.default_rng(seed).standard_normal(count))


def document(*models, **host):
    host_facts = {"processor": "p", "usable_cores": 2, "device": "cpu", "threads": 1, "governor": None} | host
    return {"host": host_facts, "models": list(models)}


def model(path="a.onnx", sha="1", batch=1, engine="onnxruntime", times=(1.0, 1.1, 0.9)):
    return {"path": path, "sha256": sha, "batch": batch, "engine": engine, "wall_ms": list(times)}


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        result = interval(rounds(2, 100, seed), rounds(1, 100, 1000 + seed), paired=False, draws=400)
        held += result.low <= 2 <= result.high
    assert 0.88 <= held / 200 <= 0.99


def every_round_drawn(base, other, paired, draws, seed):
    """The same interval by plain indices of every drawn round."""
    random = np.random.default_rng(seed)

    def rows(count):
        length = max(1, round(count**0.5))
        starts = random.integers(0, count, (draws, -(-count // length)))
        return ((starts[:, :, None] + np.arange(length)) % count).reshape(draws, -1)[:, :count]

    drawn_rows = rows(len(base))
    two = drawn_rows if paired else rows(len(other))
    return np.percentile(np.median(base[drawn_rows], axis=1) / np.median(other[two], axis=1), (2.5, 97.5))


@pytest.mark.parametrize(("count", "more"), [(1, 1), (2, 3), (10, 7), (101, 40), (500, 333)])
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_is_that_of_runs_of_neighbouring_rounds(count, more, paired):
    base, other = rounds(2, count), rounds(1, count if paired else more, seed=1)
    result = interval(base, other, paired=paired, draws=150, seed=3)
    assert (result.low, result.high) == tuple(every_round_drawn(base, other, paired, 150, 3))


def test_the_rounds_of_a_minute_need_no_more_memory_than_a_small_board_has():
    base = rounds(2, 20_000)
    tracemalloc.start()
    try:
        interval(base, 1.01 * base, paired=False, draws=500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20, "500 draws of 20,000 rounds are 80 MB at once"


def test_interleaved_rounds_cancel_what_hit_both():
    weather = np.exp(np.cumsum(0.1 * np.random.default_rng(5).standard_normal(200)))
    base, other = 1.1 * weather * rounds(1, spread=0.01), weather * rounds(1, seed=1, spread=0.01)
    together, apart = interval(base, other, paired=True), interval(base, other, paired=False)
    assert together.verdict == "faster" and apart.verdict == "undecided"
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "faster"), (1 / 1.2, "slower"), (1.0, "undecided")])
def test_the_verdict_in_a_word(factor, verdict):
    assert interval(factor * rounds(1), rounds(1, seed=3), paired=False).verdict == verdict


def test_models_are_matched_by_hash_then_by_name_at_the_same_batch_and_engine():
    before = document(model("x/a.onnx", "1"), model("b.onnx", "2", batch=8), model("c.onnx", "3"))
    after = document(
        model("renamed.onnx", "1"),
        model("b.onnx", "2", batch=1),
        model("y/c.onnx", "new"),
        model("c.onnx", "3", engine="openvino"),
    )
    comparison = compare(before, after)
    assert [(row["path"], row["same_file"]) for row in comparison["models"]] == [
        ("renamed.onnx", True),
        ("y/c.onnx", False),
    ]
    assert comparison["warnings"] == []


def test_another_machine_is_a_warning_and_nothing_in_common_an_error():
    comparison = compare(document(model()), document(model(), threads=2, governor="powersave"))
    assert len(comparison["warnings"]) == 2 and "threads was 1, is 2" in comparison["warnings"][0]
    with pytest.raises(ConfigError, match="share no model"):
        compare(document(model()), document(model(batch=2, path="z.onnx")))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"host": {}, "models": []}', '{"host": {"a": 1}, "models": [{"path": "x"}]}']
)
def test_a_document_of_something_else_is_one_line(text, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"old\.json: not a document of bench\.py"):
        read_run(path)
    path.write_text(json.dumps(document(model())))
    assert read_run(path)["models"][0]["path"] == "a.onnx"
