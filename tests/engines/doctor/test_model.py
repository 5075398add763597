"""What doctor says of a model: the engine it would build, its memory, what is missing and the command for that."""

import json

import pytest

from engines.__main__ import main
from engines.doctor.doctor import diagnose
from engines.doctor.model import default_builder, examine_model, expected_memory_mib
from engines.doctor.tables import print_report
from engines.machine import Machine
from engines.manifest import engine_manifest
from engines.trtexec.command import BuildRequest
from runtime.entry import guarded
from runtime.files.manifest import write_manifest
from tests.fakes.engine_files import onnx_file
from tests.fakes.jetson_files import ROWS, put, put_board

BOUND = {"gpu": "Orin", "compute_capability": "8.7"}


@pytest.fixture
def model(tmp_path):
    onnx_file(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def report_of(root, **changed):
    return diagnose(root=root, environment={}) | {"binding": BOUND} | changed


def fixes(examination):
    return [problem["fix"] for problem in examination["missing"]]


def test_a_whole_jetson_lacks_nothing_and_says_what_it_would_build(model, tmp_path, capsys):
    examination = examine_model(model, report_of(put_board(tmp_path / "root")))
    assert examination["ok"] and examination["missing"] == []
    engine = examination["engine"]
    assert (engine["name"], engine["library"], engine["version"]) == ("trtexec", "tensorrt", "10.3.0")
    assert engine["precision"] == "fp16" and engine["batch"] == [1, 8, 32]
    assert engine["command"] == f"python -m engines build {model} --builder trtexec"
    print_report(report_of(tmp_path / "root") | {"models": [json.loads(json.dumps(examination))]})
    assert "ready" in capsys.readouterr().out


def test_a_file_that_this_tensorrt_cannot_read_is_told_how_to_be_exported(model, tmp_path):
    examination = examine_model(model, report_of(put_board(tmp_path / "root", ROWS[0])))
    assert not examination["ok"] and examination["engine"]["version"] == "8.6.2"
    assert (
        fixes(examination)[0].startswith("python export_onnx.py model.safetensors")
        and "tensorrt8" in fixes(examination)[0]
    )


def test_python_alone_builds_where_trtexec_is_missing(model, tmp_path):
    root = put_board(tmp_path / "root")
    (root / "usr/src/tensorrt/bin/trtexec").unlink()
    examination = examine_model(model, report_of(root))
    assert examination["ok"] and examination["engine"]["name"] == "python"


def test_nothing_installed_is_told_with_the_packages(model, tmp_path):
    root = put_board(tmp_path / "root")
    put(root, {"var/lib/dpkg/status": ""})
    examination = examine_model(model, report_of(root))
    assert examination["engine"] is None and examination["expected_memory_mib"]["weights"] > 0
    assert fixes(examination)[0] == "sudo apt-get install nvidia-jetpack"
    assert "python3-libnvinfer" in fixes(examination)[1]


def test_jetpack_5_is_not_supported(model, tmp_path):
    old = {"version": "8.5.2", "path": "x"}
    examination = examine_model(model, report_of(put_board(tmp_path / "root"), trtexec=old, tensorrt=old))
    assert examination["engine"] is None and "8.5.2 is not supported" in examination["why"]


def test_a_missing_binding_is_installed_for_the_cuda_that_is_there(model, tmp_path):
    binding = {"error": "no CUDA binding for Python here"}
    examination = examine_model(model, report_of(put_board(tmp_path / "root", ROWS[-1]), binding=binding))
    assert fixes(examination) == ["pip install 'cuda-bindings==13.*'"]


def test_python_libraries_are_installed_by_their_own_names(model, tmp_path):
    desktop = {"board": {"l4t": None, "soc": None}, "tensorrt": {"error": "not installed"}}
    examination = examine_model(model, report_of(put_board(tmp_path / "root"), **desktop))
    assert fixes(examination) == ["pip install tensorrt"]


def test_weights_are_told_to_be_exported(tmp_path):
    examination = examine_model(tmp_path / "my model.safetensors", report_of(put_board(tmp_path / "root")))
    assert fixes(examination) == [
        f"python export_onnx.py '{tmp_path}/my model.safetensors' --out '{tmp_path}/my model.onnx'"
    ]


def test_of_files_alone_it_is_never_said_that_an_engine_runs(model, tmp_path):
    report = report_of(put_board(tmp_path / "root"))
    assert examine_model(model, report)["why"].endswith("as far as files can tell")
    assert "run here" in examine_model(model, report | {"root": "/"})["why"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gate", "x"),
        ("params", "x"),
        ("params", 10**400),
        ("precision", []),
        ("precision", "int3"),
        ("input", 3),
    ],
)
def test_a_damaged_manifest_is_an_answer_in_json(model, tmp_path, key, value):
    content = json.loads(model.with_name("m.onnx.json").read_text()) | {key: value}
    model.with_name("m.onnx.json").write_text(json.dumps(content))
    examination = examine_model(model, report_of(put_board(tmp_path / "root")))
    assert not examination["ok"] and examination["missing"] and json.dumps(examination, allow_nan=False)


def test_two_tensorrts_of_different_versions_are_told(model, tmp_path):
    examination = examine_model(model, report_of(put_board(tmp_path / "root"), agree=False))
    assert "trtexec (10.3.0)" in examination["why"] and "--builder python" in fixes(examination)[0]


def test_a_file_without_gate_or_crops_is_exported_again(tmp_path):
    onnx_file(tmp_path / "m.onnx", check=False)
    content = json.loads((tmp_path / "m.onnx.json").read_text()) | {"gate": {"passed": None}}
    (tmp_path / "m.onnx.json").write_text(json.dumps(content))
    examination = examine_model(tmp_path / "m.onnx", report_of(put_board(tmp_path / "root")))
    assert [fix.endswith("--check ROOT") for fix in fixes(examination)] == [True, True]


def test_too_little_memory_asks_for_a_smaller_workspace_or_for_swap(model, tmp_path):
    root = put_board(tmp_path / "root")
    for free_kib, words in ((1 << 20, "--workspace 1023"), (100 << 10, "swapon")):
        put(root, {"proc/meminfo": f"MemTotal: 7802856 kB\nMemAvailable: {free_kib} kB\nSwapFree: 0 kB\n"})
        examination = examine_model(model, report_of(root))
        assert len(examination["missing"]) == 1 and words in fixes(examination)[0]


def test_expected_memory_is_what_the_numbers_say(model):
    manifest = json.loads(model.with_name("m.onnx.json").read_text()) | {"params": 10 << 20}
    manifest["input"] |= {"height": 256, "width": 128}
    # 10 Mi parameters of 2 bytes; 32 crops of 96 KiB, four copies; four times 40 MiB and 2048
    assert expected_memory_mib(manifest, model, 32) == {
        "weights": 20,
        "run_at_least": 32,
        "build_at_most": 160 + 2048,
    }


def test_tensorrt_rtx_is_the_last_choice_and_none_is_none():
    none = {"error": "not installed"}
    rtx = {"version": "1.7.1.116"}
    assert default_builder({"trtexec": none, "tensorrt": none, "tensorrt_rtx": none}) is None
    assert default_builder({"trtexec": none, "tensorrt": none, "tensorrt_rtx": rtx}).name == "rtx"
    assert (
        default_builder({"trtexec": none, "tensorrt": {"version": "10.3.0.26"}, "tensorrt_rtx": rtx}).name
        == "python"
    )


def test_an_engine_of_another_board_is_rebuilt_by_the_command_of_its_manifest(model, tmp_path):
    parent = json.loads(model.with_name("m.onnx.json").read_text())
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"plan")
    thor = Machine("10.3.0", "11.0", "NVIDIA Thor", "Linux", "aarch64", "38.4.0", "7.1")
    write_manifest(
        engine, engine_manifest(parent, thor, BuildRequest(model, engine), []) | {"gate": {"passed": True}}
    )
    examination = examine_model(engine, report_of(put_board(tmp_path / "root")))
    assert not examination["ok"] and "GPU NVIDIA Thor, here Orin" in examination["why"]
    assert any(fix.startswith("python -m engines build") for fix in fixes(examination))


def test_a_file_that_is_not_there_is_an_answer_not_an_error(tmp_path, capsys):
    root = put_board(tmp_path / "root")
    words = ["doctor", str(tmp_path / "none.onnx"), "--root", str(root), "--json"]
    assert guarded(main, words) == 0
    (examination,) = json.loads(capsys.readouterr().out)["models"]
    assert not examination["ok"] and "no such file" in examination["why"]
    assert guarded(main, ["doctor", "--root", str(tmp_path / "none")]) == 2
