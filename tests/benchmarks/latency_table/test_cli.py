"""The latency table: what is made of the measured rounds, resuming, and the check of its predictions. No test looks at a time."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.latency_table import blocks, unseen
from benchmarks.latency_table import cli as table
from export.blocks import write_blocks
from prune.budget_search.latency import read_table
from runtime.entry import guarded
from runtime.files.manifest import read_manifest
from tests.fakes import lite, tiny_model

ARCHITECTURE = lite.architecture()
SIZES = [(6, 22, 768), (6, 9, 768), (2, 22, 768), (2, 9, 768), (6, 22, 192), (6, 9, 192)]


@pytest.fixture(scope="module")
def written_model(tmp_path_factory):
    """A model with blocks beside it; the model itself is tiny, because only its time is taken."""
    path = tiny_model.write_model(tmp_path_factory.mktemp("written") / "m.onnx")
    model_facts = {"sha256": read_manifest(path)["sha256"], "shape": ARCHITECTURE.to_json()}
    list(write_blocks(ARCHITECTURE, path.with_name("m.onnx.blocks"), model_facts, SIZES))
    return path


@pytest.fixture
def model(written_model, tmp_path):
    """A copy of the model and its blocks, which a test may damage."""
    shutil.copytree(written_model.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m.onnx"


def raw(model_ms, block_ms, **sizes):
    return [
        {"heads": h, "tokens": t, "hidden": 768, "ms": ms, "model_ms": model_ms, "block_ms": block_ms}
        for (h, t), ms in sizes["points"]
    ]


def test_a_group_measured_in_a_slow_spell_is_scaled_back():
    calm = raw(10.0, 1.0, points=[((6, 22), 1.0)])
    slow = raw(20.0, 2.0, points=[((2, 22), 0.8)])
    calm_again = raw(10.0, 1.0, points=[((4, 22), 0.6)])
    result = blocks.finished(calm + slow + calm_again, 7)
    assert [row["ms"] for row in result["grid"]] == pytest.approx([1.0, 0.4, 0.6])
    assert (result["model_ms"], result["fixed_ms"]) == pytest.approx((10.0, 3.0))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_command_measures_every_block(model, tmp_path, capsys, engine):
    if engine == "openvino":
        pytest.importorskip(
            "runtime.backends.openvino", reason="openvino is not installed", exc_type=ImportError
        )
    out = tmp_path / "t.json"
    assert (
        guarded(
            table.main,
            [str(model), "--out", str(out), "--rounds", "2", "--threads", "1", "--backend", engine],
        )
        == 0
    )
    written = json.loads(out.read_text())
    assert [blocks.size_of(row) for row in written["grid"]] == SIZES and written["complete"]
    assert all(row["ms"] > 0 for row in written["grid"]) and written["engine"] == engine
    assert "9 tokens" in capsys.readouterr().out
    predictor = read_table(out, ARCHITECTURE)
    assert predictor.widths == (192, 768)
    assert predictor.block_ms(6, 9, 192) == pytest.approx(written["grid"][5]["ms"])


def test_a_stopped_measurement_goes_on_and_another_setting_begins_anew(model, tmp_path, monkeypatch, capsys):
    out, words = (
        tmp_path / "t.json",
        [str(model), "--out", str(tmp_path / "t.json"), "--rounds", "1", "--threads", "1"],
    )
    real, calls = blocks.stopwatch.interleave, []

    def dies_at_the_second_group(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(blocks.stopwatch, "interleave", dies_at_the_second_group)
    assert guarded(table.main, words) == 130
    begun = json.loads(out.read_text())
    assert [row["heads"] for row in begun["raw"]] == [6, 6] and not begun["complete"]
    assert guarded(table.main, words) == 0
    done = json.loads(out.read_text())
    assert done["raw"][:2] == begun["raw"] and len(done["raw"]) == 6
    assert "after 2 blocks" in capsys.readouterr().err
    out.write_text(json.dumps(begun))
    assert guarded(table.main, [*words[:-1], "2"]) == 0
    assert json.loads(out.read_text())["raw"][:2] != begun["raw"]
    assert "other settings" in capsys.readouterr().err
    out.write_text("{torn")
    assert guarded(table.main, words) == 0
    assert "not a latency table" in capsys.readouterr().err and json.loads(out.read_text())["complete"]


def test_missing_blocks_and_anothers_are_one_line(tmp_path, model, capsys):
    bare = tiny_model.write_model(tmp_path / "bare.onnx")
    assert guarded(table.main, [str(bare), "--out", str(tmp_path / "t.json")]) == 4
    assert "export_onnx.py MODEL.safetensors --out" in capsys.readouterr().err
    index = tmp_path / "m.onnx.blocks" / "index.json"
    index.write_text(index.read_text().replace(read_manifest(model)["sha256"], "0"))
    assert guarded(table.main, [str(model), "--out", str(tmp_path / "t.json")]) == 4
    assert "another export" in capsys.readouterr().err


def test_rank_correlation_against_known_series():
    assert unseen.spearman([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert unseen.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # 1 - 6 * (1 + 1) / (4 * 15)
    assert unseen.spearman([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(0.8)


def test_random_counts_stay_within_the_model_and_differ_by_seed():
    all_counts = [unseen.random_counts(6, 51, 768, 7, seed) for seed in range(50)]
    heads, tokens, hidden = (np.array([counts[index] for counts in all_counts]) for index in range(3))
    assert hidden.min() >= 0.3 * 768 - 8 and hidden.max() == 768 and not (hidden % 8).any()
    assert heads.min() == 2 and heads.max() == 6 and tokens.min() >= 15 and tokens.max() == 51
    assert len({tuple(counts[0] + counts[1]) for counts in all_counts}) == 50
