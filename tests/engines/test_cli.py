"""`python -m engines` as people call it, with a stand-in for trtexec and for the Python builders."""

import json
import os
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from engines import build as building
from engines.__main__ import main
from engines.machine import Machine
from engines.trtexec.command import Profile
from runtime.backends.tensorrt.compat import rebuild_command
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError, DeviceError, GateError
from runtime.files.manifest import read_manifest, sha256, write_manifest
from tests.fakes.engine_files import HOST, fake_trtexec, lines, onnx_file, unit_features

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def onnx(tmp_path):
    onnx_file(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def trtexec(tmp_path, monkeypatch):
    path = fake_trtexec(tmp_path / "bin")
    monkeypatch.setenv("TRTEXEC", str(path))
    return path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without trtexec and without tensorrt."""
    monkeypatch.delenv("TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("engines.build.find_trtexec", _no_trtexec)
    monkeypatch.setattr("engines.probe.run_probe", lambda name: {"error": "not installed"})


def _no_trtexec():
    raise DeviceError("no trtexec in PATH")


@pytest.fixture
def builders(monkeypatch):
    """A stand-in for engines.python.builders that records what it is asked for."""
    module = types.ModuleType("engines.python.builders")
    module.asked, module.written = [], []

    def build(asked, parent, *, flavour, compute_capability, engine):
        module.asked.append((asked, flavour, compute_capability))
        module.written.append(engine)
        engine.write_bytes(b"plan of " + flavour.encode())
        machine = Machine("1.7.1.116", compute_capability, None, "Linux", "x86_64", None, None)
        return types.SimpleNamespace(
            machine=machine,
            settings=["SM86"],
            warnings=(),
            seconds=1.0,
            peak_mib=9,
            bytes=4,
            fused_attention_strings=0,
        )

    module.build = build
    monkeypatch.setitem(sys.modules, "engines.python.builders", module)
    monkeypatch.setattr("engines.python.builders", module, raising=False)
    return module


def test_build_writes_engine_and_manifest_and_names_the_next_command(onnx, trtexec, capsys):
    engine = onnx.with_name("m.engine")
    assert main(["build", str(onnx), "--batch", "1,4,8"]) == 0
    manifest = read_manifest(engine)
    assert manifest["parent"] == sha256(onnx) and manifest["builder"]["profiles"] == [[1, 4, 8]]
    assert manifest["machine"]["gpu"] == "Orin" and manifest["machine"]["tensorrt"] == "10.3.0"
    assert manifest["machine"]["compute_capability"] == "8.7" and manifest["gate"] == {"passed": None}
    out, err = capsys.readouterr()
    assert "Orin, compute capability 8.7, tensorrt 10.3.0" in out
    assert f"python -m engines verify {engine} --onnx {onnx}" in err


def test_what_dry_run_prints_is_what_a_build_runs(onnx, trtexec, capsys):
    arguments = ["build", str(onnx), "--batch", "2", "--workspace", "512"]
    main([*arguments, "--dry-run"])
    printed = shlex.split(capsys.readouterr().out)
    assert not lines(trtexec)
    main(arguments)
    (ran,) = lines(trtexec)
    assert printed[0] == "trtexec"
    assert [word for word in printed[1:] if not word.startswith("--saveEngine=")] == [
        word for word in shlex.split(ran) if not word.startswith("--saveEngine=")
    ]


def test_dry_run_for_another_version_needs_no_trtexec_and_prints_one_line(onnx, nowhere, capsys):
    main(["build", str(onnx), "--dry-run", "--tensorrt", "11.1"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith("trtexec --onnx=") and "--stronglyTyped" not in out
    assert sorted(path.name for path in onnx.parent.iterdir()) == [
        "m.onnx",
        "m.onnx.check.npz",
        "m.onnx.json",
    ]


def test_the_timing_cache_after_the_build_is_in_the_manifest(onnx, trtexec, tmp_path):
    cache = tmp_path / "tactics.bin"
    main(["build", str(onnx), "--timing-cache", str(cache)])
    builder = read_manifest(onnx.with_name("m.engine"))["builder"]
    assert cache.read_bytes() == b"tactics" and builder["timing_cache_sha256"] == sha256(cache)


def test_separate_builds_make_one_engine_per_batch_and_the_largest_names_the_others(onnx, trtexec, capsys):
    batches = [word for size in (32, 1, 8) for word in ("--batch", str(size))]
    main(["build", str(onnx), *batches, "--separate", "--dry-run"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("optShapes=images:")[1].split("x")[0] for line in printed] == ["1", "8", "32"]
    main(["build", str(onnx), *batches, "--separate"])
    assert len(lines(trtexec)) == 3
    engine = onnx.with_name("m.engine")
    manifest = read_manifest(engine)
    assert manifest["builder"]["profiles"] == [[32, 32, 32]]
    for size, other in zip((1, 8), manifest["others"], strict=True):
        path = onnx.with_name(f"m.b{size}.engine")
        assert other == {"file": path.name, "sha256": sha256(path), "batch": [size] * 3}
        # each runs alone too
        assert read_manifest(path)["builder"]["profiles"] == [[size] * 3]
        assert "others" not in read_manifest(path)
    again = shlex.split(rebuild_command(manifest, engine))
    assert again[:3] == ["python", "-m", "engines"]
    main(again[3:])
    assert read_manifest(engine)["others"] == manifest["others"]
    assert f"engines verify {engine} " in capsys.readouterr().err


def test_timed_builds_record_what_trtexec_measured_in_images(onnx, trtexec, capsys):
    main(["build", str(onnx), "--batch", "8", "--time", "--log", str(onnx.with_name("log.txt"))])
    timing = read_manifest(onnx.with_name("m.engine"))["timing"]
    assert (timing["batch"], timing["throughput_qps"], timing["latency"]["median"]) == (8, 100, 2)
    assert "800.0 images/s at batch 8" in capsys.readouterr().out


def test_an_older_engine_and_its_manifest_survive_a_failed_build(onnx, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRTEXEC", str(fake_trtexec(tmp_path / "bad", mode="fails")))
    engine = onnx.with_name("m.engine")
    engine.write_bytes(b"older")
    write_manifest(engine, {"kind": "engine"})
    assert guarded(main, ["build", str(onnx)]) == 4
    assert "error[4]" in capsys.readouterr().err and read_manifest(engine)["kind"] == "engine"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--tensorrt", "10.3"], "--tensorrt .*--dry-run"),
        (["--transfers"], "--transfers .*--time"),
        (["--batch", "1,8"], "--batch 1,8"),
        (["--batch", "x"], "--batch x"),
        (["--separate"], "--separate: .*--batch"),
        (["--separate", "--batch", "8", "--batch", "8"], "--separate: .*--batch"),
        (["--separate", "--batch", "1", "--batch", "8", "--log", "x"], "--log .*--separate"),
        (["--out", "engine"], "--out engine"),
        (["--compute-capability", "8.6"], "--compute-capability 8.6.*--builder rtx"),
        (["--builder", "rtx", "--compute-capability", "SM86"], "--compute-capability SM86"),
        (["--builder", "rtx", "--time"], "--time .*--builder trtexec.* rtx"),
        (["--builder", "python", "--dry-run"], "--dry-run .*--builder trtexec.* python"),
        (["--builder", "python", "--log", "x"], "--log .*--builder trtexec"),
    ],
)
def test_contradictions_are_refused_by_name_before_anything_runs(onnx, trtexec, words, named):
    with pytest.raises(ConfigError, match=named):
        main(["build", str(onnx), *words])
    assert not lines(trtexec)


def test_an_ungated_file_is_warned_about(onnx, trtexec, capsys):
    write_manifest(onnx, onnx_file(onnx) | {"gate": {"passed": None}})
    main(["build", str(onnx)])
    assert "quality gate" in capsys.readouterr().err


def test_a_file_that_is_changed_or_keeps_tensors_elsewhere_is_never_given_to_a_builder(onnx, trtexec):
    onnx.write_bytes(onnx.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        main(["build", str(onnx)])
    manifest = onnx_file(onnx)
    onnx.write_bytes(b"no ONNX file")
    write_manifest(onnx, manifest | {"sha256": sha256(onnx)})
    with pytest.raises(ArtifactError, match="not a complete ONNX file"):
        main(["build", str(onnx)])
    assert not lines(trtexec)


def test_without_any_builder_one_line_says_so(onnx, nowhere, capsys):
    assert guarded(main, ["build", str(onnx)]) == 5
    error = capsys.readouterr().err
    assert "no trtexec in PATH" in error and "Python's tensorrt" in error
    assert "python -m engines doctor" in error


def test_python_builds_where_only_its_tensorrt_is_there(onnx, nowhere, builders, monkeypatch):
    monkeypatch.setattr("engines.probe.run_probe", lambda name: {"version": "10.3.0"})
    main(["build", str(onnx)])
    assert [flavour for _, flavour, _ in builders.asked] == ["tensorrt"]
    assert read_manifest(onnx.with_name("m.engine"))["builder"]["name"] == "python"


def test_a_wrong_variable_is_never_passed_over_for_python(onnx, monkeypatch, tmp_path):
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="TRTEXEC="):
        building.choose_builder(None)


def test_rtx_builds_for_a_named_capability_and_can_be_repeated(onnx, builders, capsys):
    main(["build", str(onnx), "--builder", "rtx", "--compute-capability", "8.6", "--batch", "1,8,16"])
    ((request, flavour, capability),) = builders.asked
    assert (flavour, capability, request.profiles) == ("tensorrt_rtx", "8.6", (Profile(1, 8, 16),))
    engine = onnx.with_name("m.engine")
    assert builders.written != [engine] and engine.read_bytes() == b"plan of tensorrt_rtx"
    manifest = read_manifest(engine)
    assert manifest["builder"]["name"] == "rtx" and manifest["builder"]["compute_capability"] == "8.6"
    assert manifest["builder"]["engine"] == "m.engine" and manifest["builder"]["flags"] == ["SM86"]
    assert "any GPU, compute capability 8.6, tensorrt_rtx 1.7.1.116" in capsys.readouterr().out


def test_a_python_build_that_fails_leaves_nothing(onnx, builders):
    def fails(asked, parent, *, engine, **rest):
        engine.write_bytes(b"half")
        raise ArtifactError("the parser refused it")

    builders.build = fails
    before = sorted(os.listdir(onnx.parent))
    with pytest.raises(ArtifactError, match="the parser refused it"):
        main(["build", str(onnx), "--builder", "rtx"])
    assert sorted(os.listdir(onnx.parent)) == before


def test_verify_prints_the_gate_and_exits_7_when_it_fails(onnx, trtexec, monkeypatch, capsys):
    engine = onnx.with_name("m.engine")
    main(["build", str(onnx)])
    right = unit_features()
    here = Machine(**(HOST.__dict__ | read_manifest(engine)["machine"]))
    monkeypatch.setattr("engines.verify.this_host", lambda flavour: here)

    def opener(answer):
        return lambda path, spec, **rest: lambda images, ids=None: answer[images[:, 0, 0, 0]]

    words = ["verify", str(engine), "--onnx", str(onnx)]
    monkeypatch.setattr("engines.verify.open_engine", opener(right))
    assert guarded(main, words) == 0
    assert "passed on 12 images: lowest cosine 1.000000" in capsys.readouterr().out
    assert read_manifest(engine)["gate"]["passed"] is True
    monkeypatch.setattr("engines.verify.open_engine", opener(right[::-1]))
    assert guarded(main, words) == 7
    assert "error[7]" in capsys.readouterr().err and read_manifest(engine)["gate"]["passed"] is False
    with pytest.raises(GateError):
        main(words)


def test_doctor_runs_on_this_very_machine_and_prints_one_json_document():
    command = [sys.executable, "-m", "engines", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["can"]["run model.onnx on the CPU"]["ok"] is True
    assert report["system"]["cores"] >= 1 and report["memory_gib"]["total"] > 0
