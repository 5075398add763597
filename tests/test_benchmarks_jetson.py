"""bench.py --device jetson: refused elsewhere, replayed from a made-up recording, and run whole on pretended hardware."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import bench, jetson
from benchmarks.arguments import parser
from benchmarks.device_report import print_device_report
from benchmarks.device_run import document
from benchmarks.device_trtexec import run_trtexec
from engines.machine import Machine
from engines.manifest import engine_manifest
from engines.trtexec_command import Build, Profile
from runtime.errors import ConfigError, DeviceError, guarded
from runtime.session import open_artifact
from runtime.spec import InputSpec
from tests.engine_files import onnx_file
from tests.jetson_files import line, put_board, put_recording, trtexec_text
from tests.tiny_model import write_model


def replay(capsys, folder, *names):
    words = [*(names or ("m.engine",)), "--device", "jetson", "--replay", str(folder)]
    assert bench.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert bench.main(words) == 0
    return found, capsys.readouterr().out


def test_another_machine_is_refused_in_one_line_with_exit_5(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("L4T_VERSION", raising=False)
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("this is a Jetson, which is not refused")
    assert guarded(bench.main, ["m.engine", "--device", "jetson"]) == 5
    error = capsys.readouterr().err
    assert error.startswith("error[5] --device jetson: this is no Jetson") and error.count("\n") == 1
    with pytest.raises(DeviceError):
        jetson.refuse_elsewhere(tmp_path, {})
    jetson.refuse_elsewhere(put_board(tmp_path), {})
    jetson.refuse_elsewhere(tmp_path / "none", {"L4T_VERSION": "36.4.3"})


def test_a_replay_gives_the_whole_document_and_says_that_it_is_one(tmp_path, capsys):
    found, table = replay(capsys, put_recording(tmp_path))
    assert found["replayed"] is True and "replayed: nothing was measured here" in found["warnings"]
    assert found["board"]["l4t"] == "36.4.3" and found["board"]["power_mode"]["name"] == "MAXN_SUPER"
    assert found["state"]["before"]["locked"] is True and found["state"]["commands"] == []
    assert [model["scenario"] for model in found["models"]] == ["batch 1", "8 persons"]
    one, eight = found["models"]
    assert one["latency_ms"]["p50"] == 11 and one["images_per_s"] == pytest.approx(1000 / 11)
    assert eight["batch"] == 8 and eight["images_per_s"] == pytest.approx(200)
    assert one["accuracy"]["mAP"] == 0.8
    for words in (
        "REPLAYED",
        "Orin Nano",
        "36.4.3",
        "MAXN_SUPER",
        "VDD_IN by tegrastats",
        "gallery, 100 files",
    ):
        assert words in table


def test_energy_is_power_times_time_without_the_lines_that_are_broken(tmp_path, capsys):
    found, _ = replay(capsys, put_recording(tmp_path))
    # 12 s at 15 W (5 W idle) for 1000 images, then 2400; the window's first sample may still be of the phase before
    one, eight = (model["energy"] for model in found["models"])
    assert one["rail"] == "VDD_IN" and one["gross_j_per_image"] == pytest.approx(0.18, rel=0.01)
    assert one["net_j_per_image"] == pytest.approx(0.12, rel=0.01)
    assert eight["gross_j_per_image"] == pytest.approx(0.075, rel=0.01)
    assert one["idle_w"] == pytest.approx(5) and found["power"]["idle_w"] == pytest.approx(5)
    assert found["galleries"][0]["energy"]["gross_j_per_image"] == pytest.approx(0.6, rel=0.01)
    # garbage, and the last line that was cut off; a line cut within has no rail
    assert found["power"]["malformed"] == 2 and one["incomplete"] == 1


def test_trtexec_stands_beside_the_session_with_what_was_pinned(tmp_path, capsys):
    found, _ = replay(capsys, put_recording(tmp_path))
    without, copies = found["models"][0]["trtexec"]
    assert without["latency_ms"] == {"p50": 4.5, "p90": 5, "p99": 6, "mean": 5} == without["gpu_ms"]
    assert (without["transfers"], without["cuda_graph"], without["spin_wait"]) == (False, True, True)
    assert without["version"] == "10.3.0" and without["images_per_s"] == 200 and without["why"] is None
    assert copies["latency_ms"] is None and copies["why"] == "not recorded"
    assert found["models"][0]["measured"]["transfers"] is True
    assert any("not recorded" in warning for warning in found["warnings"])


def test_power_that_cannot_be_read_is_null_never_zero(tmp_path, capsys):
    found, table = replay(capsys, put_recording(tmp_path, power=False))
    assert found["power"]["sensor"] is None and found["power"]["rail"] is None
    for one in (*found["models"], *found["galleries"]):
        assert one["energy"]["gross_j_per_image"] is None and one["energy"]["net_j_per_image"] is None
    assert "not readable" in table and any("energy is null" in text for text in found["warnings"])


def test_a_run_is_compared_with_one_before(tmp_path, capsys):
    folder = put_recording(tmp_path / "run")
    words = ["m.engine", "--device", "jetson", "--replay", str(folder)]
    bench.main([*words, "--json"])
    (tmp_path / "before.json").write_text(capsys.readouterr().out)
    bench.main([*words, "--compare", str(tmp_path / "before.json")])
    assert "1.000 (" in capsys.readouterr().out


def test_ratios_are_to_the_first_model_in_the_same_scenario(tmp_path, capsys):
    found, _ = replay(capsys, put_recording(tmp_path, names=("a.engine", "b.engine")), "b.engine", "a.engine")
    assert [one["path"] for one in found["ratios"]] == ["/models/b.engine"] * 2 + ["/models/a.engine"] * 2
    assert {one["interval_95"]["ratio"] for one in found["ratios"]} == {1.0}


def test_a_folder_that_is_no_recording_or_lacks_the_model_is_refused(tmp_path):
    words = ["m.engine", "--device", "jetson", "--replay", str(tmp_path)]
    assert guarded(bench.main, words) == 2
    put_recording(tmp_path)
    assert guarded(bench.main, ["other.engine", *words[1:]]) == 2
    (tmp_path / "timing.json").write_text('{"models": 3}')
    assert guarded(bench.main, words) == 2
    assert guarded(bench.main, ["m.engine", "--replay", str(tmp_path)]) == 2


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


def test_a_whole_run_on_pretended_hardware(tmp_path, people, monkeypatch, capsys):
    """The real code from the command line on, but for the GPU: the session runs on the CPU, tegrastats is a script."""
    program = tmp_path / "tegrastats"
    program.write_text(TEGRASTATS.format(python=sys.executable, line=line(9000)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    model = write_model(tmp_path / "m.onnx")

    def on_cpu(subject):
        assert subject.device == "cuda", "asked for the GPU"
        return open_artifact(subject.path)

    monkeypatch.setattr(jetson, "open_subject", on_cpu)
    words = [str(model), "--device", "jetson", "--data", str(people), "--seconds", "0.3", "--batch", "1,4"]
    root = put_board(tmp_path / "root", mode=0, locked=False)
    before = sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file())
    run = jetson.collect(parser(None).parse_args(words), root=root, environment={}, least_s=0.3)
    assert before == sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file())

    found = json.loads(json.dumps(document(run), allow_nan=False))
    assert [model["batch"] for model in found["models"]] == [1, 4, 8, 16, 32] and found["replayed"] is False
    assert found["power"]["sensor"] == "tegrastats"
    watts = [one["energy"]["mean_w"] for one in found["models"] if one["energy"]["why"] is None]
    # a busy machine may leave a short window without a sample
    assert watts == pytest.approx([9] * len(watts)) and found["power"]["samples"] > 0
    for one in found["models"]:
        assert one["energy"]["window_s"] >= 0.3 and (one["energy"]["mean_w"] is None) == bool(
            one["energy"]["why"]
        )
        assert one["energy"]["images"] % one["batch"] == 0 and one["accuracy"]["queries"] == 2
        assert one["engine_calls"] == [[one["batch"], one["batch"]]]
        assert [beside["why"] for beside in one["trtexec"]] == [f"{model} is no engine"] * 2
    (gallery,) = found["galleries"]
    assert gallery["images"] == 2 and gallery["passes"] >= 1 and gallery["includes"][:2] == ["read", "decode"]
    assert found["state"]["commands"] == ["sudo nvpmodel -m 2", "sudo jetson_clocks"]
    print_device_report(found)
    out, err = capsys.readouterr()
    assert "NOT locked" in out and "not run here, for the board's best: sudo jetson_clocks" in err


def test_weights_are_refused(tmp_path):
    args = parser(None).parse_args(["m.safetensors", "--device", "jetson"])
    with pytest.raises(ConfigError, match="times engines"):
        jetson.collect(args, root=put_board(tmp_path), environment={}, least_s=0.1)


def test_a_batch_that_the_engine_splits_or_pads_is_in_the_document():
    class Session:
        batches = (1, 8)

    artifact = type("Artifact", (), {"spec": InputSpec(height=4, width=2), "run": Session()})()
    assert jetson._calls(artifact, 20) == [(8, 8), (8, 8), (4, 8)]


TRTEXEC = """#!{python}
import sys
open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
print({text!r})
"""


def test_trtexec_is_run_on_the_engine_of_each_batch_without_and_with_copies(tmp_path, monkeypatch):
    parent = onnx_file(tmp_path / "m.onnx")
    machine = Machine("10.3.0", "8.7", "Orin", "Linux", "aarch64", None, None)
    build = Build(tmp_path / "m.onnx", tmp_path / "m.engine", (Profile(1, 8, 16),))
    manifest = engine_manifest(parent, machine, build, [])
    log = tmp_path / "log"
    program = tmp_path / "trtexec"
    program.write_text(TRTEXEC.format(python=sys.executable, log=str(log), text=trtexec_text()))
    program.chmod(0o755)
    monkeypatch.setenv("TRTEXEC", str(program))
    spec = InputSpec(height=4, width=2)
    runs = run_trtexec(build.engine, manifest, spec, [8, 32], seconds=0.3)
    assert [(one.batch, one.transfers) for one in runs] == [(8, False), (8, True), (32, False), (32, True)]
    assert [one.output is None for one in runs] == [False, False, True, True]
    assert "no profile of it holds a batch of 32" in runs[2].why
    _, first, second = log.read_text().splitlines()
    assert first == f"{' '.join(runs[0].line[1:])}" and "--noDataTransfers" in first
    assert f"--loadEngine={build.engine}" in first and "--noDataTransfers" not in second
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "none"))
    assert "TRTEXEC=" in run_trtexec(build.engine, manifest, spec, [8], seconds=1)[0].why
    rtx = manifest | {"builder": {"name": "rtx"}}
    assert "RTX" in run_trtexec(build.engine, rtx, spec, [8], seconds=1)[0].why
