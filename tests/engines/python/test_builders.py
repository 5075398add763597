"""Engines built in Python by a fake of TensorRT 8.6, 10 and 11 in a real child process; TensorRT-RTX itself is tested apart."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from engines.python import builders
from engines.python.builders import BuildResult, build, crash, read_answer
from engines.python.child import Progress
from engines.trtexec.command import BuildRequest, Profile
from runtime.errors import ArtifactError, ConfigError, DeviceError
from runtime.files.manifest import read_manifest
from runtime.spec import InputSpec
from tests.fakes.engine_files import write_model
from tests.fakes.waiting import ended, read_fifo

ROOT = Path(__file__).resolve().parents[3]
CAMERAS = InputSpec(height=32, width=16, camera="input", cameras=3)
FIXED = InputSpec(height=32, width=16, batch=4)


@pytest.fixture
def folder(tmp_path):
    """An empty folder of its own: what a build leaves behind shows."""
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def files(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("flavour", "capability", "options", "words"),
    [
        ("tensorrt_rtx", None, {"timing_cache": Path("t.cache")}, "--timing-cache"),
        ("tensorrt_rtx", None, {"version_compatible": True}, "--version-compatible"),
        ("tensorrt", "8.6", {}, "--compute-capability 8.6"),
        ("tensorrt", None, {"level": 6}, "--optimization-level 6"),
        ("tensorrt", None, {"workspace_mib": 0}, "--workspace 0"),
        ("tensorrt", None, {"profiles": (Profile(4, 1, 8),)}, "--batch 4,1,8"),
        ("openvino", None, {}, "openvino.*tensorrt, tensorrt_rtx"),
    ],
)
def test_options_that_cannot_be_served(folder, monkeypatch, flavour, capability, options, words):
    monkeypatch.setattr(builders, "run", lambda *args, **rest: pytest.fail("a child was started"))
    model = write_model(folder / "m.onnx")
    request = BuildRequest(model, folder / "m.engine", **options)
    with pytest.raises(ConfigError, match=words):
        build(
            request,
            read_manifest(model),
            flavour=flavour,
            compute_capability=capability,
            engine=request.engine,
        )


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """`import tensorrt` in the child finds the fake of this version."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "tensorrt.py").write_text(
        "import sys\nfrom tests.fakes.tensorrt_builder import library\nsys.modules[__name__] = library()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"))

    def choose(version, fault=""):
        monkeypatch.setenv("FAKE_TENSORRT", version)
        monkeypatch.setenv("FAKE_FAULT", fault)

    choose("10.3.0")
    return choose


def told(path, **options) -> tuple[BuildResult, dict]:
    """(what build reports, what the fake library was told)."""
    request = BuildRequest(path, path.with_suffix(".engine"), **options)
    built = build(
        request, read_manifest(path), flavour="tensorrt", compute_capability=None, engine=request.engine
    )
    return built, json.loads(request.engine.read_bytes().split(b"fmha ")[-1])


def old(precision):
    return {"precision": precision, "target": "tensorrt8", "opset": 17}


def typed(precision):
    return {"precision": precision, "target": "tensorrt", "opset": 19}


@pytest.mark.parametrize(
    ("version", "manifest", "network", "flags"),
    [
        ("8.6.1", old("fp32"), ["EXPLICIT_BATCH"], []),
        ("8.6.1", old("fp16"), ["EXPLICIT_BATCH"], ["FP16"]),
        ("8.6.1", old("int8"), ["EXPLICIT_BATCH"], ["FP16", "INT8"]),
        ("10.3.0.26", old("fp16"), ["EXPLICIT_BATCH"], ["FP16"]),
        ("10.3.0.26", typed("fp32"), ["EXPLICIT_BATCH", "STRONGLY_TYPED"], []),
        ("10.16.1", typed("fp16"), ["EXPLICIT_BATCH", "STRONGLY_TYPED"], []),
        ("10.16.1", typed("int8"), ["EXPLICIT_BATCH", "STRONGLY_TYPED"], []),
        ("11.4.0.106", typed("int8"), ["STRONGLY_TYPED"], []),
    ],
)
def test_fake_versions_are_told_what_they_have(fake, folder, version, manifest, network, flags):
    fake(version)
    model = write_model(folder / "m.onnx", manifest=manifest)
    built, received = told(
        model, version_compatible=True, workspace_mib=64, level=2, profiles=(Profile(1, 2, 4),)
    )
    assert received["network"] == network and received["flags"] == [*flags, "VERSION_COMPATIBLE"]
    assert received["workspace"] == 64 << 20 and received["builder_optimization_level"] == 2
    assert received["profiles"] == [{"images": [[size, 32, 16, 3] for size in (1, 2, 4)]}]
    assert {*network, *flags, "workspace_mib=64", "profile=1,2,4"} <= set(built.settings)
    assert built.version == version and built.fused_attention_strings == 2
    assert built.warnings == ("Detected layernorm nodes in FP16: Norm_1",)


@pytest.mark.parametrize(
    ("version", "manifest", "words"),
    [
        ("8.6.1", typed("fp16"), "TensorRT 8.6.*--target tensorrt8"),
        ("11.4.0", old("int8"), "--int8.*--target tensorrt "),
        ("10.3.0", {"precision": "int8", "target": "onnxruntime"}, "int8.*onnxruntime"),
        ("10.3.0", {"precision": "fp8", "target": "tensorrt"}, "fp8"),
    ],
)
def test_fake_versions_refuse_files_made_for_others(fake, folder, version, manifest, words):
    fake(version)
    model = write_model(folder / "m.onnx", manifest=manifest)
    with pytest.raises(ArtifactError, match=words):
        told(model)
    assert files(folder) == ["m.onnx", "m.onnx.json"]


def test_a_version_that_nothing_was_checked_against_is_refused_fake(fake, folder):
    fake("10.0.1")
    with pytest.raises(ConfigError, match=r"10\.0\.1.*8\.6"):
        told(write_model(folder / "m.onnx"))


def test_several_profiles_reach_the_fake_8_6_and_a_fixed_batch_needs_none(fake, folder):
    fake("8.6.1")
    ids = onnx.TensorProto.INT32
    model = write_model(folder / "m.onnx", CAMERAS, camera_type=ids, manifest=old("fp16"))
    _, received = told(model, profiles=(Profile(1, 1, 1), Profile(2, 4, 8)))
    assert received["profiles"][1]["camera_ids"] == [[2], [4], [8]] and len(received["profiles"]) == 2
    built, received = told(write_model(folder / "f.onnx", FIXED, manifest=old("fp16")))
    assert received["profiles"] == [] and "batch=4" in built.settings


def test_the_timing_cache_is_read_and_extended_and_a_foreign_one_refused_fake(fake, folder):
    model, cache = write_model(folder / "m.onnx"), folder / "t.cache"
    assert told(model, timing_cache=cache)[1]["cache"] == ""
    assert cache.read_bytes() == b"fake cache +"
    assert told(model, timing_cache=cache)[1]["cache"] == "fake cache +"
    cache.write_bytes(b"of another library")
    with pytest.raises(ConfigError, match="--timing-cache .*t.cache"):
        told(model, timing_cache=cache)
    assert cache.read_bytes() == b"of another library"


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("import", DeviceError, r"tensorrt .*libnvinfer\.so\.10: .*JetPack"),
        ("import crash", DeviceError, r"tensorrt .*SIGSEGV.* starting.*engines doctor"),
        ("no gpu", DeviceError, "CUDA initialization failure.*engines doctor"),
        ("crash at MatMul", ArtifactError, r"SIGSEGV.* parsing node \d \[MatMul\]"),
        (
            "refuse MatMul",
            ArtifactError,
            r"node /blocks\.0/op \[Foo\]: complaint 0; node .*complaint 1; .*complaint 2; .*export_onnx",
        ),
        ("no plan", ArtifactError, r" building: Error Code 10: Could not find any implementation"),
        ("no memory", DeviceError, "memory while building.*--workspace"),
        ("kill", DeviceError, "killed while building.*--workspace"),
        ("raise", ArtifactError, " building: RuntimeError: something odd"),
        ("exit", ArtifactError, "exit status 3 while building"),
    ],
)
def test_each_failure_of_the_fake_is_one_clear_line(fake, folder, fault, kind, words):
    fake("10.3.0", fault)
    model = write_model(folder / "m.onnx")
    with pytest.raises(kind, match=words) as caught:
        told(model)
    assert "\n" not in str(caught.value) and caught.value.code == (5 if kind is DeviceError else 4)
    assert files(folder) == ["m.onnx", "m.onnx.json"]


def test_fake_8_6_errors_without_names_count_their_nodes(fake, folder):
    fake("8.6.1", "refuse MatMul")
    with pytest.raises(
        ArtifactError, match="node 0: complaint 0; node 1: complaint 1; node 2: complaint 2; .*export_onnx"
    ):
        told(write_model(folder / "m.onnx", manifest=old("fp32")))


def test_a_build_that_never_ends_is_stopped_fake(fake, folder, monkeypatch):
    fake("10.3.0", "hang")
    monkeypatch.setenv("FAKE_PID", str(folder / "pid"))
    monkeypatch.setattr(builders, "TIMEOUT_S", 8.0)
    with pytest.raises(ArtifactError, match="building after .*--optimization-level"):
        told(write_model(folder / "m.onnx"))
    assert ended(int((folder / "pid").read_text()), seconds=0)


def test_the_child_does_not_outlive_a_killed_build_fake(fake, folder, monkeypatch):
    fake("10.3.0", "hang")
    pid = folder / "pid"
    monkeypatch.setenv("FAKE_PID", str(pid))
    model = write_model(folder / "m.onnx")
    code = f"""
from pathlib import Path
from engines.python.builders import build
from engines.trtexec.command import BuildRequest
from runtime.files.manifest import read_manifest
model = Path({str(model)!r})
build(BuildRequest(model, model.with_suffix(".engine")), read_manifest(model), flavour="tensorrt", compute_capability=None,
      engine=model.with_suffix(".engine"))
"""
    os.mkfifo(pid)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    child = int(read_fifo(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert ended(child)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed here")
def test_without_tensorrt_one_line_says_where_it_comes_from(folder):
    with pytest.raises(DeviceError, match="tensorrt .*JetPack"):
        told(write_model(folder / "m.onnx"))


def test_the_last_stage_is_known_also_from_an_answer_cut_off():
    assert read_answer("") == ("starting", None)
    lines = '{"stage": "parsing"}\n{"stage": "building"}\nnoise\n{"code": 4, "err'
    assert read_answer(lines) == ("building", None)
    assert read_answer('{"stage": "writing"}\n{"code": 4, "error": "x"}\n')[1] == {"code": 4, "error": "x"}


@pytest.mark.parametrize(
    ("code", "err", "kind", "words"),
    [
        (-9, "", DeviceError, "building.*--workspace"),
        (-6, "terminate called\n  what():  std::bad_alloc\n", DeviceError, "memory while building"),
        (-6, "Assertion `x' failed.\n", ArtifactError, r"SIGABRT.* building: Assertion `x' failed"),
        (1, "Traceback\nKeyError: 'x'\n", ArtifactError, "exit status 1 while building: KeyError"),
    ],
)
def test_a_child_without_an_answer_is_explained(code, err, kind, words):
    with pytest.raises(kind, match=words):
        raise crash({"onnx": "m.onnx", "flavour": "tensorrt"}, code, "building", err)


def test_messages_that_say_nothing_new_are_left_out():
    stages = []
    progress = Progress(stages.append, ahead_of_time=True)
    progress.log("WARNING", "ModelImporter.cpp:1071: Make sure input camera_ids has Int64 binding.")
    progress.log(
        "ERROR", "[cudaResources.cpp::ScopedCudaStream::25] Error Code 1: Cuda Runtime (cudaError 35)"
    )
    progress.log("VERBOSE", "Parsing node: a [Add]")
    assert (progress.warnings, progress.errors, stages) == ([], [], [])
    for _ in range(2):
        progress.log("ERROR", "onnxOpImporters.cpp:9100: Bad\n  node")
    assert progress.errors == ["Bad node"]
    progress.begin("parsing")
    progress.log("VERBOSE", "Static check for parsing node: a [Add]")
    assert progress.errors == [] and stages == [{"stage": "parsing"}, {"stage": "parsing node a [Add]"}]
    on_gpu = Progress(stages.append, ahead_of_time=False)
    on_gpu.log("ERROR", "Error Code 1: Cuda Runtime (cudaError 35)")
    assert on_gpu.errors == ["Error Code 1: Cuda Runtime (cudaError 35)"]
