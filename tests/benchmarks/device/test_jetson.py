"""bench.py --device jetson: refused elsewhere, run whole on pretended hardware, and recorded."""

import dataclasses
import json
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.bench import cli as bench
from benchmarks.bench.arguments import parse
from benchmarks.bench.measure import jetson_options
from benchmarks.device import jetson, replay
from benchmarks.device.document import document
from benchmarks.device.replay import read_replay
from benchmarks.device.report import print_device_report
from benchmarks.device.trtexec import run_trtexec
from engines.machine import Machine
from engines.manifest import engine_manifest
from engines.trtexec.command import BuildRequest, Profile
from runtime.entry import guarded
from runtime.errors import ArtifactError, ConfigError, DeviceError
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes.engine_files import onnx_file
from tests.fakes.jetson_files import line, put_board, trtexec_text
from tests.fakes.tiny_model import write_model


def test_another_machine_is_refused_in_one_line_with_exit_5(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("L4T_VERSION", raising=False)
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("this is a Jetson, which is not refused")
    assert guarded(bench.main, ["m.engine", "--device", "jetson"]) == 5
    error = capsys.readouterr().err
    assert error.startswith("error[5] --device jetson: this is not a Jetson") and error.count("\n") == 1
    with pytest.raises(DeviceError):
        jetson.refuse_elsewhere(tmp_path, {})
    jetson.refuse_elsewhere(put_board(tmp_path), {})
    jetson.refuse_elsewhere(tmp_path / "none", {"L4T_VERSION": "36.4.3"})


def options_of(words):
    return jetson_options(parse(words))


TEGRASTATS = """#!{python}
import time
while True:
    print({line!r}, end="", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
        (root / folder).mkdir(parents=True)
        for pid, colour in ((1, (200, 30, 30)), (2, (30, 30, 200))):
            Image.new("RGB", (16, 32), colour).save(root / folder / f"{pid:04d}_c{camera}s1_000001_00.png")
    return root


class SplittingSession:
    """A session that says, as an engine's does, that it splits or pads images to batches of 1 and 8."""

    batches = (1, 8)

    def __init__(self, run):
        self.run = run

    def __call__(self, *inputs):
        return self.run(*inputs)


CALLS = {1: [[1, 1]], 4: [[4, 8]], 8: [[8, 8]], 16: [[8, 8]] * 2, 32: [[8, 8]] * 4}


def test_a_whole_run_on_pretended_hardware(tmp_path, people, monkeypatch, capsys):
    """The real code from the command line on, but for the GPU: the session runs on the CPU, tegrastats is a script."""
    program = tmp_path / "tegrastats"
    program.write_text(TEGRASTATS.format(python=sys.executable, line=line(9000)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    model = write_model(tmp_path / "m.onnx")

    def on_cpu(candidate):
        assert candidate.device == "cuda", "asked for the GPU"
        artifact = open_artifact(candidate.path)
        return dataclasses.replace(artifact, run=SplittingSession(artifact.run))

    monkeypatch.setattr(jetson, "open_candidate", on_cpu)
    words = [str(model), "--device", "jetson", "--data", str(people), "--seconds", "0.3", "--batch", "1,4"]
    root = put_board(tmp_path / "root", mode=0, locked=False)
    before = sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file())
    kept = tmp_path / "kept"
    words += ["--record", str(kept)]
    run = jetson.collect(options_of(words), root=root, environment={}, least_s=0.3)
    assert before == sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file())

    result = json.loads(json.dumps(document(run), allow_nan=False))
    assert [model["batch"] for model in result["models"]] == [1, 4, 8, 16, 32] and result["replayed"] is False
    assert result["power"]["sensor"] == "tegrastats"
    watts = [row["energy"]["mean_w"] for row in result["models"] if row["energy"]["why"] is None]
    # a busy machine may leave a short window without a sample
    assert watts == pytest.approx([9] * len(watts)) and result["power"]["samples"] > 0
    for row in result["models"]:
        assert row["energy"]["window_s"] >= 0.3 and (row["energy"]["mean_w"] is None) == bool(
            row["energy"]["why"]
        )
        assert row["energy"]["images"] % row["batch"] == 0 and row["accuracy"]["queries"] == 2
        assert row["engine_calls"] == CALLS[row["batch"]]
        assert [beside["why"] for beside in row["trtexec"]] == [f"{model} is not an engine"] * 2
    (gallery,) = result["galleries"]
    assert gallery["images"] == 2 and gallery["passes"] >= 1 and gallery["includes"][:2] == ["read", "decode"]
    assert result["state"]["commands"] == ["sudo nvpmodel -m 2", "sudo jetson_clocks"]
    assert len(result["state"]["during"]) == len(result["models"])
    print_device_report(result)
    out, err = capsys.readouterr()
    # the recording gives the same document wherever it is read; a last line that the kill cut off is not in it
    monkeypatch.setattr(replay, "LEAST_S", 0.3)
    again = json.loads(json.dumps(document(read_replay(kept, [str(model)])), allow_nan=False))
    replay_warning, *other_warnings = again.pop("warnings")
    assert "replayed" in replay_warning and other_warnings == result.pop("warnings")
    assert again.pop("replayed") is True and result.pop("replayed") is False
    assert again["power"].pop("malformed") <= result["power"].pop("malformed")
    assert again == result
    assert (
        guarded(bench.main, ["m.engine", "--device", "jetson", "--replay", str(kept), "--record", "x"]) == 2
    )
    assert "bash" not in (kept / "root/var/lib/dpkg/status").read_text(), "packages are nobody's business"
    with pytest.raises(ConfigError, match="not empty"):
        jetson.collect(options_of(words), root=root, environment={}, least_s=0.3)
    assert "NOT locked" in out and "sudo jetson_clocks" in err


def test_a_number_of_rounds_still_fills_the_window_of_the_energy():
    now = [0.0]

    def call(turn):
        # warms up for 0.2 s of real time: four calls, far from 10 s of the window's clock
        time.sleep(0.06)
        now[0] += 0.5

    scenario = jetson.time_scenario(call, 4, least_s=10.0, rounds=3, clock=lambda: now[0])
    assert len(scenario.wall_ms) == 3 and scenario.window.end_s - scenario.window.start_s >= 10
    assert scenario.images == 4 * round((scenario.window.end_s - scenario.window.start_s) / 0.5)


def test_a_model_that_is_not_there_is_told_before_another_is_measured(tmp_path, monkeypatch):
    model = write_model(tmp_path / "m.onnx")
    monkeypatch.setattr(jetson, "open_candidate", lambda candidate: pytest.fail("opened"))
    options = options_of([str(model), str(tmp_path / "none.engine"), "--device", "jetson"])
    with pytest.raises(ArtifactError, match=r"python -m engines build MODEL.onnx --out"):
        jetson.collect(options, root=put_board(tmp_path / "root"), environment={}, least_s=0.1)


def test_an_onnx_file_that_no_gpu_runs_is_told_to_become_an_engine(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    model = write_model(tmp_path / "m.onnx")

    def refused(candidate):
        raise DeviceError("this ONNX Runtime has no CUDAExecutionProvider; pip install '.[gpu]'")

    monkeypatch.setattr(jetson, "open_candidate", refused)
    options = options_of([str(model), "--device", "jetson"])
    with pytest.raises(
        DeviceError,
        match=r"no CUDAExecutionProvider; on a Jetson, build an engine .*: python -m engines build",
    ):
        jetson.collect(options, root=put_board(tmp_path / "root"), environment={}, least_s=0.1)


def test_a_stopped_run_stops_its_tegrastats_and_ends_130(tmp_path, monkeypatch, capsys):
    program = tmp_path / "tegrastats"
    program.write_text(TEGRASTATS.format(python=sys.executable, line=line(9000)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    model = write_model(tmp_path / "m.onnx")

    def stopped(candidate):
        raise KeyboardInterrupt

    monkeypatch.setattr(jetson, "open_candidate", stopped)
    options = options_of([str(model), "--device", "jetson", "--record", str(tmp_path / "kept")])
    root = put_board(tmp_path / "root")
    run = guarded(lambda argv: jetson.collect(options, root=root, environment={}, least_s=0.1) and 0)
    assert run == 130 and capsys.readouterr().err.endswith("error[130] stopped\n")
    assert not any(thread.name == "power" for thread in threading.enumerate())


def test_weights_are_refused(tmp_path):
    options = options_of(["m.safetensors", "--device", "jetson"])
    with pytest.raises(ConfigError, match="--device jetson"):
        jetson.collect(options, root=put_board(tmp_path), environment={}, least_s=0.1)


TRTEXEC = """#!{python}
import sys
open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
print({text!r})
"""


def test_trtexec_is_run_on_the_engine_of_each_batch_without_and_with_copies(tmp_path, monkeypatch):
    parent = onnx_file(tmp_path / "m.onnx")
    machine = Machine("10.3.0", "8.7", "Orin", "Linux", "aarch64", None, None)
    build = BuildRequest(tmp_path / "m.onnx", tmp_path / "m.engine", (Profile(1, 8, 16),))
    manifest = engine_manifest(parent, machine, build, [])
    log = tmp_path / "log"
    program = tmp_path / "trtexec"
    program.write_text(TRTEXEC.format(python=sys.executable, log=str(log), text=trtexec_text()))
    program.chmod(0o755)
    monkeypatch.setenv("TRTEXEC", str(program))
    spec = InputSpec(height=4, width=2)
    runs = run_trtexec(build.engine, manifest, spec, [8, 32], seconds=0.3)
    assert [(trtexec_run.batch, trtexec_run.transfers) for trtexec_run in runs] == [
        (8, False),
        (8, True),
        (32, False),
        (32, True),
    ]
    assert [trtexec_run.output is None for trtexec_run in runs] == [False, False, True, True]
    assert "a batch of 32;" in runs[2].why
    _, first, second = log.read_text().splitlines()
    assert first == f"{' '.join(runs[0].line[1:])}" and "--noDataTransfers" in first
    assert f"--loadEngine={build.engine}" in first and "--noDataTransfers" not in second
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "none"))
    assert "TRTEXEC=" in run_trtexec(build.engine, manifest, spec, [8], seconds=1)[0].why
    rtx = manifest | {"builder": {"name": "rtx"}}
    assert "RTX" in run_trtexec(build.engine, rtx, spec, [8], seconds=1)[0].why
