"""Files of our own measurements that are truncated, no JSON, or of another shape end in one line and the documented code."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.bench import cli as bench
from benchmarks.bench.merge import cli as merge
from benchmarks.demo.steps import read_index as demo_index
from benchmarks.experiments import search_report
from benchmarks.experiments.search import measured
from benchmarks.latency_table import cli as table
from benchmarks.latency_table import predict
from benchmarks.people import hashes
from benchmarks.people.sequence import detect
from benchmarks.study import cli as study
from benchmarks.study.beyond import cli as beyond
from benchmarks.study.beyond.run import BEYOND, read_time
from benchmarks.study.context import whole_index
from benchmarks.study.files import ASKED, RECORD, read_record, read_records
from runtime.entry import guarded
from runtime.errors import ConfigError, DataError
from tests.fakes import tiny_model

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
DAMAGE = {
    "nothing": "",
    "cut off": '{"schema": 1, "kind": "study", "groups": [{"meth',
    "no JSON": "PK\x03\x04",
    "another shape": '[{"a": 1}]',
    "another object": '{"cells": []}',
    "not a number": '{"model_ms": NaN}',
    "too deep": "[" * 50_000,
}


@pytest.fixture(params=DAMAGE.values(), ids=DAMAGE)
def damaged(request, tmp_path):
    path = tmp_path / "damaged.json"
    path.write_text(request.param)
    return path


def one_line(capsys, main, words, code=2):
    assert guarded(main, [str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith(f"error[{code}] "), err
    assert len(err) < 1500
    return err


def test_files_that_a_command_line_names(damaged, tmp_path, capsys):
    model = tmp_path / "m.onnx"
    made = ["--weights", "w", "--config", "c", "--data", "d", "--out", tmp_path / "out"]
    timed = ["--model", model, "--out", tmp_path / "r.json"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("{}")
    for main, words in (
        (bench.main, [model, "--compare", damaged]),
        (merge.main, [damaged]),
        (study.main, ["--report", damaged, "--table"]),
        (beyond.main, [*made, "--table", damaged]),
        (beyond.main, [*made, "--search", damaged]),
        (predict.main, [damaged, *timed, "--weights", "w", "--work", tmp_path]),
        (
            search_report.main,
            [f"A={tmp_path / 'run'}", "--table", damaged, *timed, "--picture", tmp_path / "p"],
        ),
        (hashes.main, [ROOT / "data/anny_reid", "--against", damaged]),
    ):
        assert str(damaged) in one_line(capsys, main, words)


def test_the_index_of_a_set_of_people(damaged, tmp_path, capsys):
    damaged.rename(tmp_path / "anny.json")
    one_line(capsys, hashes.main, [tmp_path, "--write", tmp_path / "x.json"])
    with pytest.raises(DataError, match="anny.json"):
        whole_index(str(tmp_path))
    with pytest.raises(DataError, match="fetch it again"):
        demo_index(tmp_path, advice="fetch it again", refusal=DataError)


def test_the_description_and_the_boxes_of_a_sequence(damaged, tmp_path, capsys):
    words = [tmp_path / "seq", "--out", tmp_path / "out"]
    shutil.copytree(ROOT / "data/sequence", tmp_path / "seq", ignore=shutil.ignore_patterns("*.mp4"))
    boxes = tmp_path / "seq" / "camera2.boxes.jsonl"
    whole = boxes.read_text()
    if damaged.read_text():
        boxes.write_text(whole + damaged.read_text())
        assert "camera2.boxes.jsonl" in one_line(capsys, detect.main, words)
    boxes.unlink()
    assert "camera2.boxes.jsonl" in one_line(capsys, detect.main, words)
    damaged.replace(tmp_path / "seq" / "sequence.json")
    assert "sequence.json" in one_line(capsys, detect.main, words)
    assert not (tmp_path / "out").exists()


def test_records_and_times_of_trials(damaged, tmp_path):
    for schema in (ASKED, RECORD, BEYOND):
        with pytest.raises(ConfigError, match=r"damaged\.json: not the record .*; remove the file"):
            read_record(damaged, schema)
    with pytest.raises(ConfigError, match=r"damaged\.json: not the times .*--retime"):
        read_time(damaged)
    (tmp_path / "cells").mkdir()
    damaged.rename(tmp_path / "cells" / "a.json")
    with pytest.raises(ConfigError, match="a.json"):
        read_records(tmp_path, {}, RECORD)


def test_a_run_of_prune_py(damaged, tmp_path):
    damaged.rename(tmp_path / "result.json")
    with pytest.raises(ConfigError, match="result.json: not a result of prune.py"):
        measured.read_run(tmp_path)


def test_results_that_tables_are_written_from(damaged, tmp_path, monkeypatch, capsys):
    for _, file, write in tables.TABLES.values():
        with pytest.raises(ConfigError, match=r"damaged\.json: .*restore the committed file"):
            tables.filled(damaged, write)
        assert tables.filled(RESULTS / file, write)
    copy = tmp_path / "results"
    for path in RESULTS.rglob("*.json"):
        (copy / path.relative_to(RESULTS)).parent.mkdir(parents=True, exist_ok=True)
        (copy / path.relative_to(RESULTS)).write_text(path.read_text())
    damaged.replace(copy / "epyc_2_cores/demo.json")
    monkeypatch.setattr(tables, "RESULTS", copy)
    assert "demo.json" in one_line(capsys, tables.main, ["--check"])


def test_the_index_of_blocks_and_a_half_measured_table(damaged, tmp_path, capsys):
    text = damaged.read_text()
    model = tiny_model.write_model(tmp_path / "m.onnx")
    folder = tmp_path / "m.onnx.blocks"
    folder.mkdir()
    (folder / "index.json").write_text(text)
    assert "export_onnx.py MODEL.safetensors" in one_line(
        capsys, table.main, [model, "--out", tmp_path / "t.json"], code=4
    )


def test_what_is_whole_is_read():
    result = json.loads((RESULTS / "study.json").read_text())
    assert study.read_result(RESULTS / "study.json") == result
    assert beyond.read_document(RESULTS / "xeon_2_cores/search.json", beyond.SEARCH, expected="", advice="")
    assert len(whole_index(str(ROOT / "data/anny_reid"))["images"]) == 1920
