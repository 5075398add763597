"""Throughput is the sum over processes that run at the same time; the pipeline is compared with it in turns."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench import cli as bench
from benchmarks.bench import measure as bench_measure
from benchmarks.bench.throughput import Load, measure, open_runners, throughput
from benchmarks.experiments import pipeline, turns
from benchmarks.experiments.turns import encode_again
from benchmarks.inputs import random_crops
from benchmarks.options import Candidate
from runtime.datasets import Item
from runtime.entry import guarded
from runtime.errors import ArtifactError
from runtime.extraction import preset
from runtime.extraction.processes import Child
from runtime.images.decode import load_image
from tests.fakes.tiny_model import write_model


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bench_measure, preset):
        monkeypatch.setattr(module, "usable_cores", lambda: 2)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(random.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def load(model: Path, batch: int = 2) -> Load:
    return Load(Candidate(model, threads=1), random_crops(8, height=32, width=16), None, batch)


def test_the_rate_is_the_sum_of_all_processes(tmp_path: Path) -> None:
    rates = throughput(load(write_model(tmp_path / "m.onnx")), 2, seconds=0.3)
    assert (rates["processes"], rates["threads"], rates["batch"]) == (2, 1, 2)
    assert len(rates["images_per_s_each"]) == 2 and min(rates["images_per_s_each"]) > 0
    assert rates["images_per_s"] == sum(rates["images_per_s_each"])
    assert not multiprocessing.active_children()


def test_all_are_told_one_moment_to_begin_which_is_still_to_come(tmp_path: Path) -> None:
    pipes = [multiprocessing.Pipe() for _ in range(3)]
    for number, (_, theirs) in enumerate(pipes, 1):
        theirs.send((number, 0.5))
    called_s = time.monotonic()
    children = [Child(None, ours) for ours, _ in pipes]  # type: ignore[arg-type]
    rates = measure(children, load(tmp_path / "never opened", batch=4), seconds=0.25)
    received = [theirs.recv() for _, theirs in pipes]
    assert len(set(received)) == 1 and received[0][0] > called_s and received[0][1] == 0.25
    # 1, 2 and 3 calls of 4 images in half a second each
    assert rates["images_per_s_each"] == [8, 16, 24] and rates["images_per_s"] == 48 and rates["images"] == 24


def test_a_model_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"), open_runners(load(tmp_path / "no.onnx"), 2):
        pass
    assert not multiprocessing.active_children()


def document(capsys: pytest.CaptureFixture[str], *argv: object) -> dict:
    assert guarded(bench.main, [str(word) for word in argv]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def no_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_measure, "peak_memory", lambda *_: None)


def test_bench_reports_throughput_beside_latency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_peaks: None
) -> None:
    model = write_model(tmp_path / "m.onnx")
    short = ("--seconds", 0.05, "--json")
    result = document(capsys, model, "--preset", "throughput", *short)
    assert result["preset"] == "throughput" and result["host"]["threads"] == 1
    assert [row["batch"] for row in result["models"]] == [1, 8]
    for row in result["models"]:
        assert row["latency_ms"]["p50"] > 0
        together = row["throughput"]
        assert (together["processes"], together["threads"], together["batch"]) == (2, 1, row["batch"])
    (row,) = document(capsys, model, "--preset", "throughput", "--batch", 1, *short)["models"]
    assert row["batch"] == 1
    result = document(capsys, model, "--preset", "latency", *short)
    assert result["preset"] == "latency" and result["host"]["threads"] is None
    assert [(row["batch"], "throughput" in row) for row in result["models"]] == [(1, False)]
    assert document(capsys, model, *short)["preset"] is None


def test_bench_prints_throughput_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_peaks: None
) -> None:
    model = write_model(tmp_path / "m.onnx")
    argv = [str(model), "--preset", "throughput", "--batch", "1", "--seconds", "0.05"]
    assert guarded(bench.main, argv) == 0
    assert "one thread each" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ("throughput", "--threads", "2"),
        ("latency", "--batch", "1,8"),
        ("latency", "--threads", "1"),
        ("throughput", "--device", "cuda"),
        ("latency", "--device", "jetson"),
    ],
)
def test_bench_refuses_what_contradicts_a_preset(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(bench.main, ["m.onnx", "--preset", *options]) == 2
    assert "preset=" in capsys.readouterr().err


def test_the_files_of_the_pipeline_all_differ_and_are_the_same_every_time(
    crops: Path, tmp_path: Path
) -> None:
    sources = [Item(str(path), 1, 0) for path in sorted(crops.iterdir())]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first_files = encode_again(sources, 40, tmp_path / "one")
    two = encode_again(sources, 40, tmp_path / "two")
    content = [Path(item.path).read_bytes() for item in first_files]
    assert content == [Path(item.path).read_bytes() for item in two]
    assert len(set(content)) == 40 and {load_image(item.path).shape for item in first_files} == {(40, 20, 3)}
    assert {(item.pid, item.camid) for item in first_files} == {(-1, -1)}


@pytest.mark.parametrize(("name", "processes"), [("throughput", 2), ("latency", 1)])
def test_the_pipeline_takes_turns_with_the_bare_engine(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, processes: int
) -> None:
    model = write_model(tmp_path / "m.onnx")
    short = ("--count", 50, "--slice", 20, "--seconds", 0.05, "--runs", "10,30", "--json")
    argv = (model, crops, "--preset", name, *short)
    assert guarded(pipeline.main, [str(word) for word in argv]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["images"] for row in result["rounds"]] == [20, 20, 10]
    ratios = [row["extract"] / row["bare"] for row in result["rounds"]]
    assert min(row["extract_cpu_ms"] for row in result["rounds"]) >= 0
    assert result["ratio"] == pytest.approx(np.median(ratios)) and result["processes"] == processes
    assert [row["images"] for row in result["runs"]] == [10, 30]
    for row in result["runs"]:
        assert row["features_bytes"] == row["images"] * 6 * 4 and row["parent_peak_bytes"] > 1e6
        assert len(row["workers_peak_bytes"]) == (2 if processes == 2 else 0)
    assert not multiprocessing.active_children()


def test_an_extraction_is_compared_with_the_engine_before_and_after_it() -> None:
    rates = iter([(10.0, 1.0), (20.0, 3.0), (40.0, 5.0)])
    taken: list[str] = []

    def engine() -> tuple[float, float]:
        taken.append("engine")
        return next(rates)

    def whole(part: object) -> tuple[float, float]:
        taken.append("extract")
        return 9.0, 4.0

    first_round, two = turns.take_turns(engine, whole, [[Item("a", 1, 0)], [Item("b", 1, 0)] * 2])
    assert taken == ["engine", "extract", "engine", "extract", "engine"]
    assert (first_round["images"], first_round["bare"], first_round["bare_cpu_ms"]) == (1, 15, 2)
    assert (two["images"], two["bare"], two["bare_cpu_ms"], two["extract"]) == (2, 30, 4, 9)


def test_cpu_seconds_are_what_a_process_has_computed() -> None:
    start = time.process_time()
    before = turns.cpu_seconds([os.getpid()])
    while time.process_time() < start + 0.3:
        pass
    counted = turns.cpu_seconds([os.getpid()]) - before
    # /proc counts in ticks of a hundredth of a second, for user and system time apart
    assert counted == pytest.approx(time.process_time() - start, abs=0.05)


def test_the_pipeline_prints_tables_for_people(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "m.onnx")
    short = ("--count", "20", "--slice", "20", "--seconds", "0.05", "--runs", "10")
    assert guarded(pipeline.main, [str(model), str(crops), *short]) == 0
    out = capsys.readouterr().out
    assert "model alone" in out and "each in a new process" in out


def test_memory_does_not_grow_with_the_number_of_images(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    sources = [Item(str(path), 1, 0) for path in sorted(crops.iterdir())]
    items = tuple(encode_again(sources, 100, tmp_path / "files")) * 40
    candidate = Candidate(write_model(tmp_path / "m.onnx"), threads=1)
    few, many = (
        turns._extraction(turns.Extraction(candidate, "throughput", items[:count])) for count in (400, 4000)
    )
    own = [extraction["parent_peak_bytes"] - extraction["features_bytes"] for extraction in (few, many)]
    # 3,600 images more: their crops would take 5 MB even at this size, their names and hashes take less than 2
    assert own[1] - own[0] < 4e6
    assert max(many["workers_peak_bytes"]) - max(few["workers_peak_bytes"]) < 4e6
