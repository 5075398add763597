"""bench.py on models small enough to need no patience. No test here looks at a time."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench import cli as bench
from benchmarks.bench import measure, memory, running
from benchmarks.bench.arguments import parse
from benchmarks.bench.document import FULL
from benchmarks.host import doubts, governor
from benchmarks.inputs import Crops, feeds, random_crops, read_crops
from benchmarks.labels import labels, number
from benchmarks.options import Candidate
from benchmarks.timing import percentile
from runtime.datasets import Item
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError, DataError
from runtime.files.manifest import sha256
from runtime.host.memory import high_water
from runtime.spec import InputSpec
from tests.fakes.tiny_model import SPEC, write_model

ROOT = Path(__file__).resolve().parents[3]
COUNTS = {
    "macs": {"macs_paper": 10, "macs_reference": 30, "macs_folded": 20},
    "params": 1234,
    "form": "folded",
}
QUICK = ["--rounds", "3", "--threads", "1"]


@pytest.fixture
def no_children(monkeypatch):
    """The peak memory of a child process takes a second each time; one test measures it for real."""
    monkeypatch.setattr(measure, "peak_memory", lambda candidate, batch: None)


@pytest.fixture
def people(tmp_path) -> Path:
    """A data set in Market-1501's layout: two people, each one colour, seen by two cameras."""
    root = tmp_path / "people"
    for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
        (root / folder).mkdir(parents=True)
        for pid, colour in ((1, (200, 30, 30)), (2, (30, 30, 200))):
            name = f"{pid:04d}_c{camera}s1_000001_00.png"
            Image.new("RGB", (16, 32), colour).save(root / folder / name)
    return root


def document(capsys, *argv: object) -> dict:
    assert bench.main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_document_has_the_contract_keys_for_each_model_and_batch(tmp_path, capsys, no_children):
    first = write_model(tmp_path / "first.onnx", manifest=COUNTS)
    second = write_model(tmp_path / "second.onnx", dataclasses.replace(SPEC, layout="float-nchw"))
    result = document(capsys, first, second, "--batch", "1,8", *QUICK)

    assert {"host", "models", "ratios"} <= set(result)
    names = [(Path(model["path"]).name, model["batch"]) for model in result["models"]]
    assert names == [("first.onnx", 1), ("second.onnx", 1), ("first.onnx", 8), ("second.onnx", 8)]
    for model in result["models"]:
        assert set(model["latency_ms"]) == {"p50", "p90", "p95", "p99", "mean"}
        assert model["rounds"] == 3 and model["features_equal"] is True
        assert model["images_per_s"] * model["latency_ms"]["mean"] == pytest.approx(1000 * model["batch"])
        assert {"cpu_ms", "cv", "peak_memory_bytes", "accuracy"} <= set(model)
    row = result["models"][0]
    assert row["sha256"] == sha256(first) and row["file_bytes"] == first.stat().st_size
    assert (row["precision"], row["form"], row["params"]) == ("fp32", "folded", 1234)
    assert (row["macs_paper"], row["macs_reference"], row["macs_folded"]) == (10, 30, 20)


def test_what_a_manifest_does_not_say_is_null(tmp_path, capsys, no_children):
    result = document(capsys, write_model(tmp_path / "m.onnx"), *QUICK)
    nulls = ("macs_paper", "macs_reference", "macs_folded", "params", "form", "accuracy")
    assert all(result["models"][0][key] is None for key in nulls)


def test_ratios_are_to_the_first_model_with_their_spread(tmp_path, capsys, no_children):
    paths = [write_model(tmp_path / f"{name}.onnx") for name in "abc"]
    result = document(capsys, *paths, "--batch", "1,2", *QUICK)
    assert [(ratio["path"], ratio["batch"]) for ratio in result["ratios"]] == [
        (str(path), batch) for batch in (1, 2) for path in paths
    ]
    assert {ratio["relative_to"] for ratio in result["ratios"]} == {str(paths[0])}
    for ratio in result["ratios"]:
        for kind in ("speed", "cpu_speed"):
            assert ratio[kind]["low"] <= ratio[kind]["median"] <= ratio[kind]["high"]
    assert result["ratios"][0]["speed"] == {"median": 1, "low": 1, "high": 1}


def test_the_host_says_what_the_numbers_depend_on(tmp_path, capsys, no_children):
    host = document(capsys, write_model(tmp_path / "m.onnx"), *QUICK)["host"]
    assert (host["device"], host["threads"]) == ("cpu", 1)
    known = {"processor", "cores", "usable_cores", "governor", "load_average", "load_average_after", "tools"}
    assert known <= set(host)


def test_stdout_is_for_results_and_stderr_for_the_rest(tmp_path, capsys, no_children):
    model = write_model(tmp_path / "model.onnx", manifest=COUNTS)
    other = write_model(tmp_path / "other.onnx")
    assert bench.main([str(model), str(other), *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "images of random pixels" in out and "p99" in out and "times as fast as model.onnx" in out
    assert "p99 of 3 rounds is the slowest of them" in err and "p99 of" not in out
    assert max(map(len, out.splitlines())) <= 100


def test_real_crops_give_the_mean_average_precision(tmp_path, people, capsys, no_children):
    result = document(capsys, write_model(tmp_path / "m.onnx"), "--data", people, *QUICK)
    assert result["models"][0]["accuracy"]["mAP"] == 1 and result["models"][0]["accuracy"]["queries"] == 2
    assert result["images"] == {"source": f"crops of {people}", "count": 4}


def test_accuracy_can_be_left_out(tmp_path, people, capsys, no_children):
    result = document(capsys, write_model(tmp_path / "m.onnx"), "--data", people, "--no-accuracy", *QUICK)
    assert result["models"][0]["accuracy"] is None and result["images"]["count"] == 4


def test_the_camera_policy_reaches_the_timed_model(tmp_path, people, capsys, no_children, monkeypatch):
    spec = dataclasses.replace(SPEC, camera="input", cameras=2, dataset="market1501")
    model = write_model(tmp_path / "m.onnx", spec)
    seen = []
    kept = measure.time_models

    def spy(artifacts, crops, ids, batch, **how):
        seen.append(ids[0].tolist())
        return kept(artifacts, crops, ids, batch, **how)

    monkeypatch.setattr(measure, "time_models", spy)
    document(capsys, model, "--data", people, *QUICK)
    document(capsys, model, "--data", people, "--camera", "input", *QUICK)
    document(capsys, model, *QUICK)
    mean = spec.mean_camera
    # The folder is not the published Market-1501, so its cameras mean nothing to the model.
    assert seen == [[mean] * 4, [0, 0, 1, 1], [mean] * measure.IMAGES]


def test_a_model_that_answers_differently_while_timed_is_found_out(
    tmp_path, capsys, no_children, monkeypatch
):
    """Planted: the timed session skips its work after the first calls and hands out an old answer."""
    honest = running.open_candidate

    def cheating(candidate):
        artifact = honest(candidate)
        answer: list[np.ndarray] = []

        def run(images, camera_ids=None):
            if not answer:
                answer.append(artifact.run(images, camera_ids))
            return answer[0]

        return dataclasses.replace(artifact, run=run)

    monkeypatch.setattr(running, "open_candidate", cheating)
    result = document(capsys, write_model(tmp_path / "m.onnx"), *QUICK)
    assert result["models"][0]["features_equal"] is False
    assert any("do not trust" in text for text in result["warnings"])


def test_peak_memory_is_a_child_processs_and_grows_with_what_the_model_holds(tmp_path, monkeypatch):
    if high_water() is None:
        pytest.skip("this system has no /proc/self/status with VmHWM to read a peak from")
    monkeypatch.setattr(memory, "PROCESSES", 1)
    held = np.ones(400 << 20, np.uint8)  # what the parent holds must not count
    small = memory.peak_memory(Candidate(write_model(tmp_path / "small.onnx"), threads=1), 1)
    # 24 values a row here: 4 M rows of float32 make a file of 400 MB; 500 k make 50 MB.
    large = memory.peak_memory(Candidate(write_model(tmp_path / "large.onnx", dim=500_000), threads=1), 1)
    assert held[-1] and 10 << 20 < small < 350 << 20
    assert large > small + (40 << 20)


@pytest.mark.parametrize("verdict", [None, {"passed": None, "off": True}, {"passed": False}])
def test_an_ungated_model_is_refused_unless_allowed(tmp_path, capsys, no_children, verdict):
    model = write_model(tmp_path / "m.onnx", manifest={"gate": verdict})
    with pytest.raises(ArtifactError, match="quality gate"):
        bench.main([str(model), *QUICK])
    assert bench.main([str(model), "--allow-ungated", *QUICK, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.count("allow_ungated=True)") == 1, "said, and said once"
    assert json.loads(out)["models"][0]["gate_passed"] is not True, "and recorded"


def test_exit_codes(tmp_path, people, capsys, no_children):
    good = write_model(tmp_path / "good.onnx")
    changed = write_model(tmp_path / "changed.onnx")
    changed.write_bytes(changed.read_bytes() + b"x")

    def code(*argv: object) -> int:
        return guarded(bench.main, [str(word) for word in argv])

    assert code(good, *QUICK) == 0
    assert code(good, "--replay", tmp_path, *QUICK) == 2, "a recording is of a Jetson"
    assert code(good, "--camera", "input", *QUICK) == 2, "the model has no camera input"
    assert code(good, "--data", tmp_path / "absent", *QUICK) == 3
    assert code(tmp_path / "absent.onnx") == 4
    assert code(changed) == 4
    assert code(people / "query") == 4
    capsys.readouterr()
    assert code(good, "--device", "jetson") == 5
    assert capsys.readouterr().err.startswith("error[5] --device jetson: this is not a Jetson")


def test_no_cuda_is_an_error_and_never_the_cpu(tmp_path, no_children):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built for CUDA, so nothing is missing")
    model = write_model(tmp_path / "m.onnx")
    assert guarded(bench.main, [str(model), "--device", "cuda", *QUICK]) == 5


@pytest.mark.parametrize("batch", ["0", "1,x", "", "1,,2"])
def test_a_batch_that_is_no_number_is_one_line(batch, tmp_path, capsys):
    model = write_model(tmp_path / "m.onnx")
    assert guarded(bench.main, [str(model), "--batch", batch]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error[2] --batch {batch}: ") and "1,8" in line


@pytest.mark.parametrize("argv", [["--seconds", "0"], ["--rounds", "3", "--seconds", "1"], []])
def test_wrong_usage_ends_with_2(argv, tmp_path):
    models = [str(write_model(tmp_path / "m.onnx"))] if argv else []
    with pytest.raises(SystemExit) as stop:
        bench.main([*models, *argv])
    assert stop.value.code == 2


def test_a_fixed_batch_is_timed_only_at_its_own_size(tmp_path, capsys, no_children):
    model = write_model(tmp_path / "m.onnx", dataclasses.replace(SPEC, batch=4))
    with pytest.raises(ConfigError, match="fixed batch size of 4"):
        bench.main([str(model), "--batch", "1", *QUICK])
    assert document(capsys, model, "--batch", "4", *QUICK)["models"][0]["batch"] == 4


def test_the_script_in_the_root_runs_it(tmp_path):
    model = write_model(tmp_path / "m.onnx", manifest=COUNTS)
    command = [sys.executable, "bench.py", str(model), "--device", "cpu", *QUICK, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak = json.loads(done.stdout)["models"][0]["peak_memory_bytes"]
    assert high_water() is None or peak > 10 << 20, "children start also from a script"


def test_the_torch_baseline_stands_beside_the_exported_models(tmp_path, capsys, no_children):
    pytest.importorskip("torch", reason="the torch baseline needs torch")
    from prune.model.file import save_model
    from prune.model.flops import flops_report
    from tests.fakes import lite

    network = lite.pruned()
    weights = tmp_path / "model.safetensors"
    save_model(network, weights, lite.SPEC)
    result = document(capsys, weights, write_model(tmp_path / "m.onnx"), "--torch", weights, *QUICK)
    first, exported, baseline = result["models"]
    assert first["kind"] == "torch", "weights are a torch model in any place, so also what ratios are to"
    assert (exported["kind"], baseline["kind"], baseline["form"]) == ("onnx", "torch", "reference")
    assert baseline["sha256"] == sha256(weights) and baseline["features_equal"] is True
    wanted = flops_report(network.architecture)
    assert all(
        baseline[key] == wanted[key] for key in ("macs_paper", "macs_reference", "macs_folded", "params")
    )


def test_all_feeds_differ_and_every_model_sees_the_same_pictures():
    crops = random_crops(6, height=32, width=16)
    raw = feeds(crops, np.arange(6), SPEC, 2)
    normalised = feeds(crops, None, dataclasses.replace(SPEC, layout="float-nchw"), 2)
    assert len(raw) == len(normalised) == 3
    rows = np.concatenate([images for images, _ in raw])
    assert len(np.unique(rows.reshape(6, -1), axis=0)) == 6
    assert np.concatenate([ids for _, ids in raw]).tolist() == list(range(6))
    back = np.concatenate([images for images, _ in normalised]).transpose(0, 2, 3, 1) * 127.5 + 127.5
    assert np.abs(back - rows).max() < 1e-3


def test_fewer_pictures_than_a_batch_repeat():
    (only,) = feeds(random_crops(3, height=32, width=16), None, SPEC, 5)
    assert only[0].shape == (5, 32, 16, 3)
    assert (only[0][3:] == only[0][:2]).all()


def test_crops_are_spread_over_the_items_and_bad_files_are_left_out(tmp_path):
    items = []
    for index in range(10):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (8, 16), (index, 0, 0)).save(path)
        items.append(Item(str(path), index, index))
    Path(items[0].path).write_bytes(b"no picture")
    crops = read_crops(items, 4, "here")
    assert crops.camids == (3, 6, 9)
    assert [int(picture[0, 0, 0]) for picture in crops.pixels] == [3, 6, 9]
    with pytest.raises(DataError, match=r"here: .*0\.png"):
        read_crops(items[:1], 4, "here")


def test_crops_of_any_size_are_resized_for_the_model():
    crops = Crops((np.zeros((80, 40, 3), np.uint8), np.zeros((50, 50, 3), np.uint8)), (-1, -1), "here")
    assert feeds(crops, None, InputSpec(), 2)[0][0].shape == (2, 256, 128, 3)


def test_p99_is_the_slowest_round_up_to_the_number_that_the_warning_names():
    assert percentile(np.arange(FULL - 1.0), 99) == FULL - 2
    assert percentile(np.arange(float(FULL)), 99) < FULL - 1


def test_a_busy_host_or_a_moving_clock_is_named():
    quiet = {"load_average": [0.1, 9, 9], "usable_cores": 2, "governor": "performance"}
    assert doubts(quiet) == []
    assert doubts(quiet | {"load_average": None, "governor": None}) == []
    assert "load average 1.5 on 2 cores" in doubts(quiet | {"load_average": [1.5, 0, 0]})[0]
    assert "powersave" in doubts(quiet | {"governor": "powersave"})[0]


def test_the_governor_is_none_where_there_is_none(tmp_path):
    assert governor(tmp_path / "absent") is None
    (tmp_path / "scaling_governor").write_text("powersave\n")
    assert governor(tmp_path / "scaling_governor") == "powersave"


def test_files_of_one_name_are_told_apart():
    assert labels(["a/m.onnx", "b/m.onnx", "b/n.onnx"]) == {
        "a/m.onnx": "a/m.onnx",
        "b/m.onnx": "b/m.onnx",
        "b/n.onnx": "n.onnx",
    }
    assert labels(["a/m.onnx", "a/m.onnx"]) == {"a/m.onnx": "m.onnx"}


def test_numbers_keep_three_to_five_digits():
    assert [number(value) for value in (0.1234, 9.8765, 45.678, 220.34, 17053.2)] == [
        "0.123",
        "9.877",
        "45.68",
        "220.3",
        "17053",
    ]
    assert number(None) == "-" and number(20.38e9, 1e9) == "20.38"


def test_one_file_on_two_engines_is_two_models(tmp_path, capsys, no_children):
    path = write_model(tmp_path / "m.onnx")
    assert bench.main([str(path), f"{path}@onnxruntime", "--json", *QUICK]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [model["engine"] for model in result["models"]] == ["onnxruntime"] * 2
    assert [Path(model["path"]).name for model in result["models"]] == ["m.onnx"] * 2


@pytest.mark.parametrize("word", ["m.onnx@compile", "m.onnx@gpu", "m.safetensors@openvino"])
def test_an_engine_that_does_not_exist_is_named_with_those_that_do(word):
    with pytest.raises(ConfigError, match=f"no backend {word.split('@')[1]};.* one of"):
        parse([word])


def test_the_engine_of_each_model_is_its_own():
    words = ["a.onnx@openvino-bf16", "b.onnx", "c.safetensors@compile", "c.safetensors"]
    candidates = parse(words).candidates
    parsed = [
        (candidate.path.name, candidate.backend, candidate.torch, candidate.compiled)
        for candidate in candidates
    ]
    assert parsed[:2] == [("a.onnx", "openvino-bf16", False, False), ("b.onnx", "onnxruntime", False, False)]
    assert [candidate[2:] for candidate in parsed[2:]] == [(True, True), (True, False)]


def test_a_run_is_compared_with_a_saved_one(tmp_path, capsys, no_children):
    path, old = write_model(tmp_path / "m.onnx"), tmp_path / "old.json"
    saved = document(capsys, path, *QUICK)
    saved["models"][0]["wall_ms"] = [1e4, 1.1e4, 0.9e4]
    old.write_text(json.dumps(saved))
    row = document(capsys, path, "--compare", old, *QUICK)["compared"]["models"][0]
    assert row["verdict"] == "faster" and row["low"] <= row["ratio"] <= row["high"] and row["same_file"]
    assert bench.main([str(path), "--compare", str(old), *QUICK]) == 0
    assert "earlier run" in capsys.readouterr().out


def test_a_comparison_with_nothing_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "measured", lambda *_: pytest.fail("measured"))
    with pytest.raises(ConfigError, match="not a document of bench.py"):
        bench.main(["m.onnx", "--compare", str(tmp_path / "none.json")])


def test_with_a_data_set_the_time_is_split_into_its_stages(tmp_path, people, capsys, no_children):
    words = [str(write_model(tmp_path / "m.onnx")), "--data", str(people), *QUICK]
    times = document(capsys, *words)["models"][0]["stages"]
    assert set(times["ms"]) == {"decode", "preprocess", "infer", "rank"} and times["images"] == 2
    assert bench.main(words) == 0
    assert "19732" in capsys.readouterr().out
