"""bench.py on tiny models: what it reports, and that it notices a session that cheats."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench import Candidate, main
from prune.checkpoint import save_model
from runtime.errors import guarded
from runtime.manifest import manifest_path, write_manifest
from tests import lite
from tests.tiny_model import write_model

FAST = ["--device", "cpu", "--rounds", "3", "--warmup", "1", "--threads", "1"]


@pytest.fixture
def models(tmp_path):
    return [str(write_model(tmp_path / name)) for name in ("a.onnx", "b.onnx")]


def test_json_holds_the_contract(models, capsys):
    assert main([*models, *FAST, "--batch", "1,4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"host", "models", "ratios"} <= set(document)
    assert [(m["path"], m["batch"]) for m in document["models"]] == [(p, b) for b in (1, 4) for p in models]
    for model in document["models"]:
        assert {"p50", "p90", "p95", "p99", "mean"} <= set(model["latency_ms"])
        assert {"sha256", "precision", "images_per_s", "macs_paper", "macs_reference", "macs_folded"} <= set(
            model
        )
        assert {"params", "file_bytes", "cpu_ms", "cv"} <= set(model)
        assert model["features_equal"] is True
        assert model["rounds"] == 3
        # a process with numpy and onnxruntime in it is at least this large
        assert model["peak_memory_mib"] > 20
    assert [(pair["model"], pair["batch"]) for pair in document["ratios"]] == [(models[1], 1), (models[1], 4)]
    assert all(pair["p5"] <= pair["median"] <= pair["p95"] for pair in document["ratios"])


def test_table_names_every_model(models, capsys):
    assert main([*models, *FAST]) == 0
    out = capsys.readouterr().out
    assert "a.onnx" in out and "b.onnx" in out and "times faster than a.onnx" in out


def test_accuracy_is_measured_on_a_data_set(tmp_path, models, capsys):
    random = np.random.default_rng(0)
    for folder, cameras in (("bounding_box_train", [1]), ("query", [1]), ("bounding_box_test", [2, 3])):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for person in (1, 2, 3):
            for camera in cameras:
                # a colour a person: any model finds them
                pixels = np.full((32, 16, 3), 80 * person, np.uint8) + random.integers(
                    0, 5, (32, 16, 3), dtype=np.uint8
                )
                name = f"{person:04d}_c{camera}s1_000001_00.png"
                Image.fromarray(pixels).save(tmp_path / "data" / folder / name)
    argv = [models[0], *FAST, "--data", str(tmp_path / "data"), "--layout", "market1501", "--json"]
    assert main(argv) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == "gallery images"
    assert 0 < document["models"][0]["mAP"] <= 1


def test_torch_eager_is_a_candidate(tmp_path, capsys):
    save_model(lite.pruned(), tmp_path / "m.safetensors", lite.SPEC)
    assert main([str(tmp_path / "m.safetensors"), *FAST, "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert (model["engine"], model["form"], model["precision"]) == ("torch eager", "reference", "fp32")
    assert model["macs_reference"] > model["macs_folded"] > 0


def test_features_that_change_between_timing_and_checking_are_noticed():
    class Drifting:
        calls = 0

        def run(self, images, camera_ids=None):
            self.calls += 1
            return np.full((1, 2), self.calls, np.float32)

    one = Candidate(Drifting(), 1, [(np.zeros(1), None)])
    one(0)
    assert not one.equal()


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--device", "jetson"], 2, "TensorRT"),
        (["--device", "cpu", "--batch", "0"], 2, "--batch 0"),
        (["--device", "cuda"], 5, "--device cuda"),
        (["--device", "cpu", "--data", "nowhere"], 3, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(argv, code, words, models, capsys):
    assert guarded(main, [models[0], *argv]) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error[{code}]") and words in error and "\n" not in error


def test_an_ungated_model_is_refused_unless_allowed(models, capsys):
    path = models[0]
    manifest = json.loads(manifest_path(path).read_text())
    write_manifest(
        path, {key: value for key, value in manifest.items() if key != "sha256"} | {"gate": {"passed": None}}
    )
    assert guarded(main, [path, *FAST]) == 4
    assert "--allow-ungated" in capsys.readouterr().err
    assert main([path, *FAST, "--allow-ungated"]) == 0
