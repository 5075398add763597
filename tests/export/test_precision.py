"""export_onnx.py --precision and --target on the demo's teacher: what is written, what is refused, what the gate catches."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch

from export import cli as command
from export import exporting, gate, precision
from export.fp16.lint import lint
from export.int8.calibration import Calibration
from export.options import SHIPPED
from export.precision import calibration_slice, held_out_count
from prune.model.file import load_model, save_model
from runtime.entry import guarded
from runtime.files.manifest import read_manifest
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes import lite

DEMO = SHIPPED.parent / "demo" / "model.safetensors"


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Forty shipped images of different people, in a folder without identities."""
    root = tmp_path_factory.mktemp("crops")
    for name in sorted(path.name for path in (SHIPPED / "twins").iterdir())[::3]:
        shutil.copy(SHIPPED / "twins" / name, root / f"picture{name}")
    return root


def saved(path, change=None):
    """Three blocks and the branches of the demo's trained teacher, after `change` has damaged it."""
    model, manifest = load_model(DEMO)
    model = lite.shallow(model, 3)
    if change:
        with torch.no_grad():
            change(model)
    save_model(model, path / "model.safetensors", InputSpec.from_json(manifest["input"], "demo"))
    return path / "model.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"))


def run(weights, out, crops, *more):
    return guarded(command.main, [str(weights), "--out", str(out), "--check", str(crops), *more])


def types(path):
    return {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in onnx.load(path).graph.initializer}


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize(
    "precision, target, opset",
    [
        ("fp32", "tensorrt", 19),
        ("fp32", "tensorrt8", 17),
        ("fp16", "onnxruntime", 18),
        ("fp16", "tensorrt", 19),
        ("fp16", "tensorrt8", 17),
        ("int8", "onnxruntime", 18),
        ("int8", "tensorrt", 19),
        ("int8", "tensorrt8", 17),
    ],
)
def test_every_precision_is_written_for_every_target(
    precision, target, opset, weights, crops, tmp_path, capsys
):
    out = tmp_path / "m.onnx"
    code = run(weights, out, crops, "--precision", precision, "--target", target)
    assert code == 0, capsys.readouterr().err
    artifact = open_artifact(out)
    manifest = artifact.manifest
    assert (manifest["precision"], manifest["target"], manifest["opset"]) == (precision, target, opset)
    assert max(entry.version for entry in onnx.load(out).opset_import) == opset
    assert manifest["gate"]["passed"] and artifact.run is not None
    half = precision == "fp16" and target != "tensorrt8" or (precision, target) == ("int8", "tensorrt")
    assert ("FLOAT16" in types(out)) == half
    # on TensorRT 8.6 flags make FP16 of what the FP32 file leaves float
    assert ("rounded" in manifest["gate"]) == (
        half or precision == "fp16" or (precision, target) == ("int8", "tensorrt8")
    )
    assert ("QuantizeLinear" in operators(out)) == (precision == "int8")
    if precision == "int8":
        table = manifest["sensitivity"]
        assert {row["group"] for row in table["rows"]} == {*table["int8"], *table["skip"]}
        assert all(row["cosine_mean"] is not None for row in table["rows"])
    if precision != "fp32":
        assert manifest["calibration"]["images"] == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.check.npz", "m.onnx.json"]


def overflowing(model):
    """One unit of an MLP is 1e5 times larger and its effect is divided out again, which changes nothing in FP32."""
    mlp = model.base.blocks[2].mlp
    mlp.fc1.weight[0] *= 1e5
    mlp.fc1.bias[0] = 0
    mlp.fc2.weight[:, 0] /= 1e5


def test_an_overflow_is_found_kept_in_fp32_and_said(crops, tmp_path, capsys):
    overflowing_weights = saved(tmp_path, overflowing)
    assert run(overflowing_weights, tmp_path / "m.onnx", crops, "--precision", "fp16") == 0
    errors = capsys.readouterr().err
    assert "fp16 lint: " in errors and "kept in FP32" in errors
    manifest = read_manifest(tmp_path / "m.onnx")
    assert manifest["fp16_lint"]["keep"] and manifest["gate"]["rounded"]["passed"]


def test_what_the_lint_does_not_see_the_gate_does_and_only_when_it_is_on(
    crops, tmp_path, monkeypatch, capsys
):
    overflowing_weights = saved(tmp_path, overflowing)
    empty_lint = lint(onnx.ModelProto(), {})
    monkeypatch.setattr(precision, "lint", lambda *_: empty_lint)
    out = tmp_path / "m.onnx"
    assert run(overflowing_weights, out, crops, "--precision", "fp16") == 7
    assert "rounded: " in capsys.readouterr().err and not out.exists()
    assert run(overflowing_weights, out, crops, "--precision", "fp16", "--gate", "off") == 0
    assert read_manifest(out)["gate"]["passed"] is None


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_fp32_file_that_flags_make_fp16_is_judged_as_fp16(precision, crops, tmp_path, capsys):
    """TensorRT 8.6: nothing in the file keeps the overflowing nodes in FP32, in INT8 neither."""
    out = tmp_path / "m.onnx"
    options = ["--precision", precision, "--target", "tensorrt8"]
    if precision == "int8":
        # elsewhere than the overflow, which Q would clip back into range
        (tmp_path / "table.json").write_text('{"block0.fc1": 0.1}')
        options += ["--latency-table", str(tmp_path / "table.json")]
    assert run(saved(tmp_path, overflowing), out, crops, *options) == 7
    errors = capsys.readouterr().err
    assert "WARNING TensorRT 8.6" in errors and "rounded: " in errors
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == []


def test_map_is_that_of_what_the_device_computes(weights, tmp_path, monkeypatch):
    judged = []

    def scores(parent, path, *_, **__):
        judged.append({tensor.data_type for tensor in onnx.load(path).graph.initializer})
        return {"passed": True, "failures": [], "map": {}}

    monkeypatch.setattr(gate, "judge_map", scores)
    options = ["--precision", "fp16", "--target", "onnxruntime", "--max-map-drop", "1", "--check-count", "8"]
    assert run(weights, tmp_path / "m.onnx", SHIPPED, *options) == 0
    # FP32 arithmetic with rounding in between, not the FP16 file that the CPU computes in FP32
    assert onnx.TensorProto.FLOAT16 not in judged[0] and onnx.TensorProto.FLOAT in judged[0]


def refusing(monkeypatch, refused):
    """The final gate, which also refuses the first `refused` INT8 files."""
    real, tries = exporting.verdict_on, []

    def verdict(check, parent, path, spec, exported, **more):
        actual_verdict = real(check, parent, path, spec, exported, **more)
        if exported.precision == "int8" and len(tries) < refused:
            tries.append(len(exported.report["sensitivity"]["int8"]))
            return actual_verdict | {"passed": False, "failures": [f"planted {len(tries)}"]}
        return actual_verdict

    monkeypatch.setattr(exporting, "verdict_on", verdict)
    return tries


def test_what_only_the_final_gate_refuses_loses_more_groups_until_it_passes(
    weights, crops, tmp_path, monkeypatch, capsys
):
    tries = refusing(monkeypatch, 2)
    assert run(weights, tmp_path / "m.onnx", crops, "--precision", "int8", "--target", "tensorrt") == 0
    manifest = read_manifest(tmp_path / "m.onnx")
    table = manifest["sensitivity"]
    assert tries == [len(table["int8"]) + 3, len(table["int8"]) + 2] and manifest["precision"] == "int8"
    assert [refusal["failures"] for refusal in table["refused"]] == [["planted 1"], ["planted 2"]]
    assert "refused by the gate (planted 2)" in capsys.readouterr().err
    linears = [node for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type == "QuantizeLinear"]
    assert len(linears) <= len(table["int8"])


def test_when_the_final_gate_refuses_all_int8_fp16_is_written(weights, crops, tmp_path, monkeypatch, capsys):
    tries = refusing(monkeypatch, 100)
    assert run(weights, tmp_path / "m.onnx", crops, "--precision", "int8", "--target", "tensorrt") == 0
    assert "FP16 is the better" in capsys.readouterr().err
    manifest = read_manifest(tmp_path / "m.onnx")
    assert manifest["precision"] == "fp16" and manifest["gate"]["passed"] and 3 <= len(tries) <= 6
    assert "FLOAT16" in types(tmp_path / "m.onnx") and "QuantizeLinear" not in operators(tmp_path / "m.onnx")


def unbalanced(model):
    """One input of an MLP has weights 1e3 times larger and a norm 1e3 times smaller, which changes no float result."""
    block = model.base.blocks[1]
    block.mlp.fc1.weight[:, 0] *= 1e3
    block.norm2.weight[0] /= 1e3
    block.norm2.bias[0] /= 1e3


def test_the_planted_group_is_the_worst_of_the_table(crops, tmp_path, capsys):
    assert run(saved(tmp_path, unbalanced), tmp_path / "m.onnx", crops, "--precision", "int8") == 0
    rows = read_manifest(tmp_path / "m.onnx")["sensitivity"]["rows"]
    errors = capsys.readouterr().err
    assert min(rows, key=lambda row: row["cosine_mean"])["group"] == "block1.fc1", errors
    # the folder that is judged on was the one that ranges were measured on
    assert "WARNING 40 of 40 images that INT8 is judged on are calibration images too" in errors


@pytest.mark.parametrize(
    "target, precision, stable_word",
    [
        # what test_when_the_final_gate_refuses_all_int8_fp16_is_written writes too
        pytest.param("tensorrt", "fp16", "FP16 is the better", marks=pytest.mark.full),
        ("onnxruntime", "fp32", "FP32 is the better"),
    ],
)
def test_where_int8_pays_nowhere_another_file_is_written_and_said(
    target, precision, stable_word, weights, crops, tmp_path, capsys
):
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"block0.fc1": -0.1}))
    options = ["--precision", "int8", "--latency-table", str(table), "--target", target]
    assert run(weights, tmp_path / "m.onnx", crops, *options) == 0
    assert stable_word in capsys.readouterr().err
    assert read_manifest(tmp_path / "m.onnx")["precision"] == precision


TABLE = ["--precision", "int8", "--latency-table"]


@pytest.mark.parametrize(
    "options, table, code, stable_word",
    [
        (TABLE, None, 2, "--latency-table"),
        (TABLE, "{bad", 2, "--latency-table"),
        (TABLE, "[" * 100_000, 2, "--latency-table"),
        *[
            (TABLE, text, 2, "JSON object")
            for text in ("{}", '{"block0.fc1": NaN}', '{"block0.fc1": true}', '{"block0.fc1": "0.1"}')
        ],
        (["--gate", "off", *TABLE], '{"block0.fc1": 0.1}', 2, "--gate off"),
        (["--precision", "fp32", "--calibration"], None, 2, "--calibration"),
        (["--precision", "int8", "--calibration"], None, 3, "--calibration DIR"),
    ],
)
def test_bad_words_are_refused_before_anything_is_computed(
    options, table, code, stable_word, weights, crops, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(exporting, "parent_check", lambda *_: pytest.fail("the parent ran"))
    if table is not None:
        (tmp_path / "given").write_text(table)
    assert run(weights, tmp_path / "m.onnx", crops, *options, str(tmp_path / "given")) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error[")]
    assert stable_word in line and not (tmp_path / "m.onnx").exists()


def test_an_unknown_group_of_the_table_and_a_folder_as_output_are_refused(weights, crops, tmp_path, capsys):
    (tmp_path / "table.json").write_text('{"blocks.0.fc1": 0.1}')
    assert run(weights, tmp_path / "m.onnx", crops, *TABLE, str(tmp_path / "table.json")) == 2
    assert "no group blocks.0.fc1" in capsys.readouterr().err
    assert run(weights, tmp_path, crops) == 2
    assert "folder" in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == [
        "table.json"
    ]


def test_bad_words_and_folders_are_refused(weights, crops, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(weights, out, crops, "--precision", "int8", "--calibration", str(empty)) == 3
    (tmp_path / "table.json").write_text("[1]")
    assert (
        run(weights, out, crops, "--precision", "int8", "--latency-table", str(tmp_path / "table.json")) == 2
    )
    assert "JSON object" in capsys.readouterr().err
    assert run(weights, out, crops, "--latency-table", str(tmp_path / "table.json")) == 2
    assert not out.exists()


@pytest.mark.parametrize("total", [3, 64, 65, 127, 500])
def test_the_lint_looks_at_no_more_images_than_it_says(total):
    spec = InputSpec(height=4, width=2)
    images = np.arange(total * 24, dtype=np.int64).reshape(total, 4, 2, 3).astype(np.uint8)
    calibration_part = calibration_slice(Calibration(images, np.arange(total), spec, "0"), 64)
    assert len(calibration_part.images) == min(total, 64) == len(calibration_part.camera_ids)
    assert calibration_part.camera_ids[0] == 0 and calibration_part.camera_ids[-1] == total - 1


def test_larger_models_are_measured_on_fewer_images():
    assert held_out_count(175_000_000) == 300
    assert held_out_count(11_800_000_000) == 48
