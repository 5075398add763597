"""The survey of precisions: what it asks for is what the exporter knows, and a row says what the manifest says."""

import pytest

from benchmarks.experiments import precision
from benchmarks.steps import StepFailed
from benchmarks.steps import run as run_step
from export.options import TARGETS
from runtime.entry import guarded
from runtime.files.manifest import write_manifest
from runtime.options.choices import PRECISIONS

NUMBERS = {"cosine_min": 0.99, "top1": 1.0}


def test_every_file_is_one_that_the_exporter_makes():
    for words in precision.FILES.values():
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert (
            options.get("--precision", "fp32") in PRECISIONS
            and options.get("--target", "onnxruntime") in TARGETS
        )


def test_a_row_says_what_the_manifest_says(tmp_path):
    onnx = tmp_path / "m.onnx"
    onnx.write_bytes(b"12345")
    sensitivity = {"int8": ["block0.qkv"], "rows": [{"group": "block0.qkv"}, {"group": "block0.fc2"}]}
    gate = {"passed": True, "numbers": NUMBERS, "rounded": {"numbers": NUMBERS | {"top1": 0.5}}}
    write_manifest(onnx, {"kind": "onnx", "precision": "int8", "gate": gate, "sensitivity": sensitivity})
    anny = {"mAP": 0.5, "R1": 0.25, "R5": 1}
    row = precision.row("teacher", "int8trt", onnx, anny, {"test": {"plain": anny}})
    assert row["anny_reid"] == {"mAP": 0.5, "R1": 0.25} == row["other"]["test"]
    assert (row["bytes"], row["int8_groups"], row["gate_rounded_to_fp16"]["top1"]) == (5, 1, 0.5)


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(StepFailed, match="exit code 3 .*python -c") as failed:
        run_step(["-c", "raise SystemExit(3)"])
    assert failed.value.code == 3


def test_a_model_without_a_name_is_one_line(tmp_path, capsys):
    words = [
        "--model",
        "m.safetensors",
        "--other",
        "x",
        "--work",
        str(tmp_path),
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert guarded(precision.main, words) == 2
    assert "give NAME=M.safetensors" in capsys.readouterr().err
