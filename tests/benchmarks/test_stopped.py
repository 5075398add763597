"""Measurements that a signal ends: what is complete is printed or kept, marked as incomplete, and nothing is left half."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.agenda import Agenda, Part, in_words, timing_s
from benchmarks.bench import cli as bench
from benchmarks.bench import measure, running
from benchmarks.bench.arguments import parse
from benchmarks.bench.plan import Cost, RunSettings, agenda, names
from benchmarks.device import jetson
from benchmarks.device.document import document as device_document
from benchmarks.device.report import print_device_report
from benchmarks.experiments import transfer, zero_shot
from benchmarks.options import Timing
from benchmarks.unfinished import printed, written
from runtime.entry import guarded
from runtime.stopping import Stopped
from tests.fakes.jetson_files import put_board
from tests.fakes.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_children(monkeypatch):
    monkeypatch.setattr(measure, "peak_memory", lambda candidate, batch: None)


def stopping_after(monkeypatch, calls: int) -> None:
    """Models answer so many calls, and then a signal comes."""
    honest, left = running.open_candidate, [calls]

    def opening(candidate):
        artifact = honest(candidate)

        def run(images, camera_ids=None):
            if not left[0]:
                raise Stopped(signal.SIGTERM)
            left[0] -= 1
            return artifact.run(images, camera_ids)

        return dataclasses.replace(artifact, run=run)

    monkeypatch.setattr(running, "open_candidate", opening)


def run_bench(capsys, *words: object) -> tuple[int, dict, str]:
    code = guarded(bench.main, [*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_bench_prints_one_document_of_what_is_complete(tmp_path, number, code):
    model = write_model(tmp_path / "m.onnx")
    # the second batch is not done before the signal, however fast the machine is
    command = [
        sys.executable,
        "bench.py",
        str(model),
        "--batch",
        "1,2",
        "--seconds",
        "0.5",
        "--threads",
        "1",
        "--json",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    messages = []
    for line in process.stderr:
        messages.append(line)
        if "times at batch 2" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=120)
    result = json.loads(out)
    assert (
        process.returncode == code
        and err.splitlines()[-1] == f"error[{code}] stopped"
        and "Traceback" not in err
    )
    assert (result["complete"], result["stopped"]) == (False, signal.Signals(number).name)
    assert [model["batch"] for model in result["models"] if not model.get("cut_short")] == [1]
    assert "times at batch 2" in result["missing"] and "times at batch 1" not in result["missing"]
    estimate = next(index for index, line in enumerate(messages) if "estimate" in line)
    assert "times at batch 1" in messages[estimate + 1], (
        "how long it takes is said before anything is measured"
    )


def test_a_stop_before_the_first_time_is_a_document_too(tmp_path, capsys, monkeypatch):
    def opening(candidate):
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(running, "open_candidate", opening)
    code, result, _ = run_bench(capsys, write_model(tmp_path / "m.onnx"), "--compare", saved(tmp_path))
    assert (code, result["models"], result["complete"], len(result["missing"])) == (130, [], False, 1)


def saved(folder: Path) -> Path:
    path = folder / "old.json"
    row = {"path": "m.onnx", "sha256": "0" * 64, "engine": "onnxruntime", "batch": 1, "wall_ms": [1.0]}
    path.write_text(json.dumps({"host": {}, "models": [row]}))
    return path


@pytest.mark.parametrize(("rounds", "kept"), [(1000, True), (1000, False)], ids=["enough rounds", "too few"])
def test_the_rounds_of_a_timing_that_is_stopped_are_kept_where_they_are_enough(
    tmp_path, capsys, no_children, monkeypatch, rounds, kept
):
    monkeypatch.setattr(running.plan, "calibrate", lambda *_: Cost(0, 0))
    monkeypatch.setattr("runtime.host.stopwatch.WARMUP_S", 0.0)
    monkeypatch.setattr("runtime.host.stopwatch._warm_up", lambda call, seconds, wall: call(0))
    stopping_after(monkeypatch, 1 + (25 if kept else 9))
    code, result, _ = run_bench(capsys, write_model(tmp_path / "m.onnx"), "--rounds", rounds, "--threads", 1)
    assert code == 143 and "times at batch 1" in result["missing"]
    rows = [(model["rounds"], model["cut_short"], model["features_equal"]) for model in result["models"]]
    assert rows == ([(25, True, None)] if kept else [])


def test_tables_of_a_stopped_bench_are_marked(tmp_path, capsys, no_children, monkeypatch):
    def stops(candidate, batch):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(measure, "peak_memory", stops)
    assert guarded(bench.main, [str(write_model(tmp_path / "m.onnx")), "--rounds", "3"]) == 143
    out = capsys.readouterr().out
    assert out.startswith("INCOMPLETE, stopped by SIGTERM") and "memory of m.onnx" in out and "p99" in out


def test_a_whole_run_says_that_it_is(tmp_path, capsys, no_children):
    code, result, _ = run_bench(capsys, write_model(tmp_path / "m.onnx"), "--rounds", 3)
    assert (code, result["complete"], result["stopped"], result["missing"]) == (0, True, None, [])


@pytest.mark.parametrize("when", ["idle", "scenario", "trtexec"])
def test_a_stopped_board_run_keeps_the_scenarios_that_are_done(tmp_path, monkeypatch, capsys, when):
    def stops(*_, **__):
        raise Stopped(signal.SIGTERM)

    words = [str(write_model(tmp_path / "m.onnx")), "--device", "jetson", "--rounds", "1"]
    options = measure.jetson_options(parse(words))
    monkeypatch.setattr(
        jetson,
        "open_candidate",
        lambda candidate: running.open_candidate(dataclasses.replace(candidate, device="cpu")),
    )
    if when == "trtexec":
        monkeypatch.setattr(jetson, "run_trtexec", stops)
    elif when == "idle":
        monkeypatch.setattr(jetson, "_model", stops)
    else:
        honest = jetson.time_scenario
        monkeypatch.setattr(
            jetson,
            "time_scenario",
            lambda call, count, **how: stops() if count == 8 else honest(call, count, **how),
        )
    with pytest.raises(jetson.Interrupted) as stop:
        options = dataclasses.replace(options, timing=Timing(1, 0.01))
        jetson.collect(options, root=put_board(tmp_path / "root"), environment={}, least_s=0.01)
    result = device_document(stop.value.run)
    done = {"idle": [], "scenario": [1], "trtexec": [1, 8, 16, 32]}[when]
    assert [model["batch"] for model in result["models"]] == done
    assert (result["complete"], result["stopped"], stop.value.code) == (False, "SIGTERM", 143)
    assert any("trtexec" in name for name in result["missing"])
    print_device_report(result)
    assert capsys.readouterr().out.startswith("INCOMPLETE")


def test_an_agenda_counts_down_and_names_what_is_missing(capsys):
    plan = Agenda([Part("a", 30), Part("b", 600)], basis="a guess")
    plan.announce()
    with plan.part("a"):
        pass
    with pytest.raises(KeyboardInterrupt), plan.part("b"):
        raise KeyboardInterrupt
    lines = capsys.readouterr().err.splitlines()
    assert "10 min" in lines[0] and "estimate" in lines[0] and "a guess" in lines[0]
    assert [line.split(";")[0] for line in lines[1:]] == ["[1/2] a", "[2/2] b"]
    assert plan.missing == ["b"] and plan.rest_s == 600
    assert [in_words(seconds) for seconds in (0.2, 40, 100, 9000)] == ["1 s", "40 s", "2 min", "2.5 h"]


def test_the_estimate_is_what_interleaving_takes():
    assert timing_s(0.5, rounds=10, seconds=3) == 0.5 + 5
    assert timing_s(0.01, rounds=None, seconds=3) == 0.2 + 3
    assert timing_s(1, rounds=None, seconds=3) == 1 + 10
    plan = agenda(["m"], [Cost(open_s=1, image_s=0.1)], RunSettings((1, 8), 100, 3.0, images=50))
    first, second, accuracy, *_ = plan.parts.values()
    assert first.seconds == pytest.approx(0.2 + 100 * 0.1 + 1 + 4 * 0.1)
    assert second.seconds == pytest.approx(0.8 + 100 * 0.8 + 1 + 4 * 0.8)
    assert accuracy.seconds == pytest.approx(5) and len(plan.parts) == 5
    assert names(["a/m.onnx", "a/m.onnx", "n.onnx"]) == ["m.onnx (1)", "m.onnx (2)", "n.onnx"]


def test_a_stopped_result_never_replaces_a_whole_one(tmp_path):
    out, part = tmp_path / "r.json", tmp_path / "r.partial.json"
    out.write_text("whole")
    with pytest.raises(Stopped, match="r.partial.json"), written(out, lambda: {"rows": [1]}):
        raise Stopped(signal.SIGTERM)
    assert out.read_text() == "whole"
    assert json.loads(part.read_text()) == {"rows": [1], "complete": False, "stopped": "SIGTERM"}
    with pytest.raises(Stopped) as stop, written(tmp_path / "none.json", lambda: None):
        raise KeyboardInterrupt
    assert stop.value.code == 130 and os.listdir(tmp_path).count("none.partial.json") == 0
    with written(out, lambda: None):
        pass
    assert not part.exists()


def test_a_stopped_transfer_prints_the_models_that_are_done(capsys, monkeypatch):
    results = iter([{"plain": {}, "camera_mean_subtracted": {}}])

    def one(*_, **__):
        try:
            return next(results)
        except StopIteration:
            raise Stopped(signal.SIGINT) from None

    monkeypatch.setattr(transfer, "SHOWN", ())
    monkeypatch.setattr(zero_shot, "opened", lambda path: None)
    monkeypatch.setattr(zero_shot, "transfer", one)
    monkeypatch.setattr(transfer, "read_dataset", lambda *_: None)
    monkeypatch.setattr(zero_shot, "pictures", lambda *_: [])
    assert guarded(transfer.main, ["a", "b", "--data", "x", "--json"]) == 130
    result = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in result["models"]] == ["a"] and result["complete"] is False
    with pytest.raises(Stopped), printed(lambda: None):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""
