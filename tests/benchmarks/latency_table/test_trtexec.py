"""The latency table by trtexec, on a stand-in that prints what a GPU would: lines per version, resuming, refusals."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.latency_table import cli as table
from benchmarks.latency_table import predict, unseen
from benchmarks.latency_table.blocks import size_of
from benchmarks.latency_table.trtexec import Sampler, Target, block_line, model_line, refusal
from benchmarks.study.beyond import cli as beyond
from engines.trtexec.output import parse
from export.blocks import write_blocks
from prune.budget_search.latency import read_table
from runtime.entry import guarded
from runtime.errors import ArtifactError, DeviceError
from runtime.files.manifest import read_manifest, write_manifest
from tests.fakes import lite, tiny_model

ARCHITECTURE = lite.architecture()
SIZES = [(6, 22, 768), (6, 9, 768), (2, 22, 768), (2, 9, 768), (6, 22, 192), (6, 9, 192)]
# An independent program: a block takes as many ms as its file's name says, the whole model 100.
TRTEXEC = """#!{python}
import os, re, sys
words = dict(word.partition("=")[::2] for word in sys.argv[1:])
banner = "TensorRT.trtexec [TensorRT v{version}] # trtexec"
print("&&&& RUNNING", banner)
if "--help" in words:
    sys.exit(0)
log = open({log!r}, "a+")
log.write(" ".join(sys.argv[1:]) + chr(10))
log.seek(0)
if len(log.readlines()) == {dies}:
    print("[11/02/2026-10:00:01] [V] a line of no importance")
    print("[11/02/2026-10:00:01] [E] Error[4]: node /Tile: cannot be built")
    print("&&&& FAILED", banner)
    sys.exit(1)
if "--saveEngine" in words:
    open(words["--saveEngine"], "wb").write(b"plan")
else:
    sizes = re.search(r"h([0-9]+)_t([0-9]+)_m([0-9]+)", words.get("--onnx", ""))
    h, t, m = map(int, sizes.groups()) if sizes else (0, 0, 0)
    ms = h + t + m / 100 if sizes else 100
    if not sizes:
        assert open(words["--loadEngine"], "rb").read() == b"plan"
    body = f"min = 0 ms, max = 999 ms, mean = 999 ms, median = {{ms}} ms, percentile(99%) = 999 ms"
    print("[11/02/2026-10:00:01] [I] Latency: " + body.replace(f"= {{ms}} ms", "= 999 ms"))
    print("[11/02/2026-10:00:01] [I] GPU Compute Time: " + body)
print("&&&& PASSED", banner)
"""


def stand_in(folder, *, version=100300, dies=0):
    folder.mkdir(exist_ok=True)
    path = folder / "trtexec"
    path.write_text(
        TRTEXEC.format(python=sys.executable, version=version, log=str(folder / "log"), dies=dies)
    )
    path.chmod(0o755)
    return path


def lines(folder):
    return (folder / "log").read_text().splitlines()


@pytest.fixture
def model(tmp_path):
    """A tiny model with a big model's blocks beside it: nothing is computed here."""
    path = tiny_model.write_model(tmp_path / "m.onnx")
    write_manifest(path, read_manifest(path) | {"target": "tensorrt"})
    model_facts = {"sha256": read_manifest(path)["sha256"], "shape": ARCHITECTURE.to_json()}
    folder = tmp_path / "m.onnx.blocks"
    folder.mkdir()
    for heads, tokens, hidden in SIZES:
        (folder / f"h{heads}_t{tokens}_m{hidden}.fp32.onnxruntime.onnx").write_bytes(b"kept as it is")
    list(write_blocks(ARCHITECTURE, folder, model_facts, SIZES))
    return path


def run(model, tmp_path, *more):
    return guarded(table.main, [str(model), "--out", str(tmp_path / "t.json"), "--device", "cuda", *more])


def test_times_are_what_the_gpu_computes_and_prune_reads_the_table(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin")))
    assert run(model, tmp_path) == 0
    written = json.loads((tmp_path / "t.json").read_text())
    assert (written["engine"], written["tensorrt"], written["device"]) == ("tensorrt", "10.3.0", "cuda")
    assert (written["model_ms"], written["complete"]) == (100, True)
    assert (written["precision"], written["target"], written["batch"]) == ("fp32", "tensorrt", 1)
    assert [row["ms"] for row in written["grid"]] == [h + t + m / 100 for h, t, m in SIZES]
    predictor = read_table(tmp_path / "t.json", ARCHITECTURE)
    assert predictor.block_ms(2, 9, 192) == pytest.approx(2 + 9 + 1.92)
    # the whole model's engine is built once and loaded for each of the three groups, and goes with the last
    words = lines(tmp_path / "bin")
    assert sum("--saveEngine" in line for line in words) == 1
    assert sum("--loadEngine" in line for line in words) == 3 and len(words) == 1 + 3 + 3 + 6
    assert not list(tmp_path.glob("*.engine"))


@pytest.mark.parametrize(
    ("version", "precision", "target", "flags", "last"),
    [
        ((8, 6, 2), "fp32", "tensorrt8", [], ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]),
        ((8, 6, 2), "fp16", "tensorrt8", ["--fp16"], ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]),
        ((10, 3, 0), "fp16", "tensorrt", ["--stronglyTyped"],
         ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]),
        ((11, 4, 1), "fp16", "tensorrt", [], []),
        ((11, 4, 1), "fp32", "tensorrt", [], []),
    ],
)  # fmt: skip
def test_a_blocks_line_per_version(model, tmp_path, version, precision, target, flags, last):
    manifest = read_manifest(model) | {"precision": precision, "target": target, "opset": 17}
    manifest["input"] = manifest["input"] | {"camera": "mean"}
    index = {"tokens": 22, "width": 192}
    place = Target(tmp_path / "trtexec", version, 4, tmp_path / "t.timing-cache")
    shapes = [f"--{bound}Shapes=x:4x22x192" for bound in ("min", "opt", "max")]
    assert block_line(tmp_path / "b.onnx", manifest, index, place) == [
        "trtexec", f"--onnx={tmp_path / 'b.onnx'}", *flags, "--memPoolSize=workspace:2048",
        "--builderOptimizationLevel=3", f"--timingCacheFile={tmp_path / 't.timing-cache'}", *shapes,
        "--shapes=x:4x22x192", "--infStreams=1", *last, "--duration=3",
    ]  # fmt: skip
    line = model_line(model, manifest, tmp_path / "m.engine", place)
    assert f"--saveEngine={tmp_path / 'm.engine'}" in line and "--skipInference" in line


def test_a_file_for_another_tensorrt_is_refused_before_anything_is_built(model, tmp_path):
    manifest = read_manifest(model) | {"precision": "fp16", "target": "tensorrt8", "opset": 17}
    place = Target(tmp_path / "trtexec", (11, 0), 1, tmp_path / "c")
    with pytest.raises(ArtifactError, match="TensorRT 11.0 .*--target tensorrt"):
        block_line(tmp_path / "b.onnx", manifest, {"tokens": 22, "width": 192}, place)


def test_a_block_that_cannot_be_built_is_told_and_the_rest_goes_on_from_there(
    model, tmp_path, monkeypatch, capsys
):
    # whole model built, loaded, anchor, two blocks; loaded again, anchor: the eighth run is the third block
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin", dies=8)))
    assert run(model, tmp_path) == 4
    message = capsys.readouterr().err
    assert (
        "h2_t22_m768.fp32.onnxruntime.onnx: trtexec failed (Error[4]: node /Tile: cannot be built" in message
    )
    # The message names no option of another command, and the log holds trtexec's command line and its whole output.
    log = tmp_path / "t.trtexec.log"
    assert f"read {log}," in message and "--log" not in message
    assert log.read_text().startswith("trtexec --onnx=") and "of no importance" in log.read_text()
    begun = json.loads((tmp_path / "t.json").read_text())
    assert [size_of(row) for row in begun["raw"]] == SIZES[:2] and not begun["complete"]
    before = len(lines(tmp_path / "bin"))
    assert run(model, tmp_path) == 0
    again = lines(tmp_path / "bin")[before:]
    assert not any("h6_t9_m768" in line or "--saveEngine" in line for line in again)
    assert json.loads((tmp_path / "t.json").read_text())["complete"]
    assert not log.exists()


@pytest.mark.parametrize(
    ("version", "target", "flag"), [(8601, "tensorrt8", False), (101300, "tensorrt", True)]
)
def test_the_command_on_other_versions(model, tmp_path, monkeypatch, version, target, flag):
    manifest = read_manifest(model) | {"target": target, "opset": 17}
    write_manifest(model, manifest | {"input": manifest["input"] | {"camera": "mean"}})
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin", version=version)))
    assert run(model, tmp_path, "--batch", "2") == 0
    words = lines(tmp_path / "bin")
    assert all(("--stronglyTyped" in line) == flag for line in words if "--onnx=" in line)
    assert "--shapes=x:2x22x" in words[-1]


def test_an_engine_that_does_not_load_is_built_anew_by_the_next_run(model, tmp_path, monkeypatch, capsys):
    # built, then not loaded
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin", dies=2)))
    assert run(model, tmp_path) == 4
    assert ".engine: trtexec failed" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.engine"))
    assert run(model, tmp_path) == 0
    assert sum("--saveEngine" in line for line in lines(tmp_path / "bin")) == 2


@pytest.mark.parametrize(("file", "median"), [("timed_8.6.txt", 7.14139), ("timed_11.1.txt", 0.825)])
def test_times_in_the_form_of_8_6_and_11(model, tmp_path, capsys, file, median):
    printed = Path(__file__).resolve().parents[2] / "data" / "trtexec" / file
    script = tmp_path / "trtexec"
    script.write_text(f"#!/bin/sh\ncat {printed}\n")
    script.chmod(0o755)
    (tmp_path / "m.engine").write_bytes(b"plan")
    target = Target(script, (10, 3, 0), 1, tmp_path / "c")
    index = json.loads((tmp_path / "m.onnx.blocks" / "index.json").read_text())
    assert Sampler(model, index, target, tmp_path / "m.engine")(index["grid"][:1]) == [median] * 3
    # only the first says that its times are unsteady
    assert ("vary by 5.6 %" in capsys.readouterr().err) == (file == "timed_8.6.txt")


def test_a_failure_keeps_the_exit_code_of_its_cause(tmp_path):
    texts = Path(__file__).resolve().parents[2] / "data" / "trtexec"
    block, log = Path("b.onnx"), tmp_path / "log"
    memory = refusal(parse((texts / "failed_memory_10.3.txt").read_text()), 1, block, log)
    parsing = refusal(parse((texts / "failed_parse_10.3.txt").read_text()), 1, block, log)
    killed = refusal(parse(""), -9, block, log)
    assert [type(error) for error in (memory, parsing, killed)] == [DeviceError, ArtifactError, DeviceError]
    assert (
        "OutOfMemory" in str(memory) and "Invalid Node - /Tile" in str(parsing) and "SIGKILL" in str(killed)
    )
    assert not any("--workspace" in str(error) for error in (memory, parsing, killed))


def test_another_power_mode_of_a_jetson_begins_anew(model, tmp_path, monkeypatch):
    stub = stand_in(tmp_path / "bin", dies=8)
    monkeypatch.setenv("TRTEXEC", str(stub))
    monkeypatch.setenv("L4T_VERSION", "36.4.3")
    for mode, code, begun in (("15W", 4, 1), ("15W", 0, 1), ("25W", 0, 2)):
        nvpmodel = tmp_path / "bin" / "nvpmodel"
        nvpmodel.write_text(f"#!/bin/sh\necho 'NV Power Mode: {mode}'\n")
        nvpmodel.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        if mode == "25W":
            # as a stopped measurement leaves it
            half = json.loads((tmp_path / "t.json").read_text()) | {"complete": False}
            (tmp_path / "t.json").write_text(json.dumps(half))
        assert run(model, tmp_path, "--device", "jetson") == code
        assert sum("--saveEngine" in line for line in lines(tmp_path / "bin")) == begun
    written = json.loads((tmp_path / "t.json").read_text())
    assert written["board"]["power_mode"]["name"] == "25W" and written["gpu"] is None


def test_another_tensorrt_begins_anew(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin", dies=8)))
    assert run(model, tmp_path) == 4
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "newer", version=110000)))
    assert run(model, tmp_path) == 0
    assert sum("h6_t9_m768" in line for line in lines(tmp_path / "newer")) == 1
    assert json.loads((tmp_path / "t.json").read_text())["tensorrt"] == "11.0.0"


@pytest.mark.parametrize("option", [["--threads", "1"], ["--rounds", "3"], ["--backend", "openvino"]])
def test_options_of_the_cpu_are_refused_on_a_gpu(model, tmp_path, capsys, option):
    assert run(model, tmp_path, *option) == 2
    assert f"{option[0]}: works only with --device cpu" in capsys.readouterr().err


def test_no_trtexec_and_no_jetson_are_one_line(model, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(model, tmp_path) == 5
    assert "TRTEXEC=" in capsys.readouterr().err
    assert run(model, tmp_path, "--device", "jetson") == 5
    assert "this is not a Jetson" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()


def test_a_fixed_batch_is_measured_as_it_is(model, tmp_path, monkeypatch, capsys):
    manifest = read_manifest(model)
    write_manifest(model, manifest | {"input": manifest["input"] | {"batch": 4}})
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin")))
    assert run(model, tmp_path) == 2
    assert "--batch 1: " in capsys.readouterr().err
    assert run(model, tmp_path, "--batch", "4") == 0
    assert "Shapes=images" not in lines(tmp_path / "bin")[0]


def test_models_are_not_timed_on_a_cpu_for_a_gpus_table(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRTEXEC", str(stand_in(tmp_path / "bin")))
    assert run(model, tmp_path) == 0
    words = ["--model", str(model), "--weights", "none", "--work", str(tmp_path / "w"), "--out", "none"]
    monkeypatch.setattr(unseen, "random_models", lambda *given: pytest.fail("refused too late"))
    assert guarded(predict.main, [str(tmp_path / "t.json"), *words]) == 2
    assert "measured with tensorrt," in capsys.readouterr().err
    words = ["--weights", "none", "--config", "none", "--data", "none", "--out", str(tmp_path / "w")]
    assert guarded(beyond.main, [*words, "--table", str(tmp_path / "t.json")]) == 2
    assert "measured with tensorrt" in capsys.readouterr().err
