"""bench.py --device cuda: the card's state, a frame's persons, galleries and trtexec, on a pretended card."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.bench import cli as bench
from benchmarks.bench import measure, running
from benchmarks.bench.arguments import parse
from benchmarks.bench.merge import cli as merge
from benchmarks.bench.report import print_report
from benchmarks.device import desktop, gpu_state
from benchmarks.device.run import Trtexec
from runtime.entry import guarded
from runtime.opening import open_artifact
from runtime.spec import InputSpec
from tests.fakes.jetson_files import trtexec_text
from tests.fakes.tiny_model import write_model

# answers every query, and prints watts as long as anybody wants them
SMI = """#!{python}
import sys, time
words = " ".join(sys.argv)
if "--id=1" not in words:
    sys.exit(6)
if "{refused}" in words:
    print('Field "{refused}" is not a valid field to query.')
    sys.exit(2)
if "_reasons.active" in words:
    print("{mask}")
elif "power.draw" in words:
    while True:
        print("60.5", flush=True)
        time.sleep(0.02)
else:
    print("NVIDIA X, 570.1, P0, Disabled, 350.00, 1200, 1980, [N/A], 41")
"""
CARD = {
    "name": "NVIDIA X",
    "driver": "570.1",
    "performance_state": "P0",
    "persistence_mode": "Disabled",
    "power_limit_w": 350.0,
    "sm_mhz": 1200.0,
    "sm_max_mhz": 1980.0,
    "memory_mhz": None,
    "temperature_c": 41.0,
}


def nvidia_smi(folder, *, mask="0x0000000000000001", refused="nothing"):
    program = folder / "nvidia-smi"
    program.write_text(SMI.format(python=sys.executable, mask=mask, refused=refused))
    program.chmod(0o755)
    return {"PATH": str(folder), "CUDA_VISIBLE_DEVICES": "1"}


def test_the_card_that_cuda_uses_tells_its_state(tmp_path):
    card = gpu_state.state(nvidia_smi(tmp_path))
    assert card == CARD | {"throttling": []}
    assert gpu_state.advice(card) == ["sudo nvidia-smi -pm 1", "sudo nvidia-smi -lgc 1980,1980"]
    assert gpu_state.advice(None) == [] and gpu_state.state({"PATH": str(tmp_path / "none")}) is None


@pytest.mark.parametrize("refused", [*gpu_state.REASONS, "_reasons.active"])
def test_drivers_call_what_slows_a_card_down_by_two_names(tmp_path, refused):
    card = gpu_state.state(nvidia_smi(tmp_path, mask="0x0000000000000045", refused=refused))
    known = None if refused == "_reasons.active" else ["power cap", "temperature, by hardware"]
    assert card["throttling"] == known
    warnings = gpu_state.doubts([None, card, card])
    assert len(warnings) == (0 if known is None else 1)
    assert all(f"slowed down while measuring ({', '.join(known)})" in text for text in warnings)


def test_a_driver_that_refuses_the_query_or_talks_nonsense_is_null(tmp_path):
    assert gpu_state.state(nvidia_smi(tmp_path, refused="temperature.gpu")) is None
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Failed to initialize NVML\n")
    assert gpu_state.state({"PATH": str(tmp_path)}) is None


def test_without_a_batch_a_frame_s_persons_are_timed_where_the_models_allow_it():
    assert desktop.sizes(fixed=False, card=True) == (1, 8, 16, 32) and desktop.sizes(
        fixed=True, card=True
    ) == (1,)
    assert desktop.sizes(fixed=False, card=False) == (1,)
    assert parse(["m.onnx", "--device", "cuda"]).batches is None
    assert parse(["m.onnx", "--device", "cuda", "--batch", "1"]).batches == (1,), "asked for"


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
        (root / folder).mkdir(parents=True)
        for pid, colour in ((1, (200, 30, 30)), (2, (30, 30, 200))):
            Image.new("RGB", (16, 32), colour).save(root / folder / f"{pid:04d}_c{camera}s1_000001_00.png")
    return root


def test_a_whole_run_on_a_pretended_card(tmp_path, people, monkeypatch, capsys):
    """The real code from the command line on, but for the GPU: the session runs on the CPU, nvidia-smi is a script."""
    for name, value in nvidia_smi(tmp_path, mask="0x4").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    model = write_model(tmp_path / "m.onnx")
    monkeypatch.setattr(running, "open_candidate", lambda candidate: open_artifact(candidate.path))
    monkeypatch.setattr(measure, "reopen_candidate", lambda candidate: open_artifact(candidate.path))
    monkeypatch.setattr(measure, "peak_memory", lambda candidate, batch: None)
    monkeypatch.setattr(measure, "gpu_energy", partial(measure.gpu_energy, least_s=0.3, settle_s=0.01))
    monkeypatch.setattr(desktop, "galleries", partial(desktop.galleries, least_s=0.3, settle_s=0.01))
    words = [str(model), "--device", "cuda", "--data", str(people), "--rounds", "3", "--json"]
    assert bench.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["batch"] for row in result["models"]] == [1, 8, 16, 32]
    for row in result["models"]:
        assert row["energy"]["rail"] == "GPU_BOARD" and row["trtexec"] == []
        assert row["measured"] == {"transfers": True, "cuda_graph": False, "spin_wait": False}
    assert result["state"]["before"] == CARD | {"throttling": ["power cap"]} == result["state"]["after"]
    assert len(result["state"]["during"]) == 4 and len(result["state"]["commands"]) == 2
    assert any("slowed down while measuring (power cap)" in text for text in result["warnings"])
    (gallery,) = result["galleries"]
    assert gallery["images"] == 2 and gallery["seconds"] >= 0.3 and gallery["energy"]["rail"] == "GPU_BOARD"
    if gallery["energy"]["why"] is None:
        assert gallery["energy"]["gross_j_per_image"] == pytest.approx(
            60.5 * gallery["seconds"] / (2 * gallery["passes"])
        )
    print_report(result)
    table = capsys.readouterr().out
    assert "sudo nvidia-smi -lgc" in table and "the whole gallery" in table
    path = tmp_path / "run.json"
    path.write_text(json.dumps(result))
    assert guarded(merge.main, [str(path)]) == 0


def test_trtexec_stands_beside_an_engine_and_its_failure_is_told(monkeypatch):
    runs = [Trtexec(8, False, ["trtexec"], trtexec_text()), Trtexec(8, True, why="no trtexec here")]
    calls = []

    def run(path, manifest, spec, batches, *, seconds):
        calls.append((path, batches, seconds))
        return runs

    monkeypatch.setattr(desktop, "run_trtexec", run)
    loaded = desktop.Loaded(Path("m.engine"), {}, InputSpec(height=4, width=2))
    row = {"kind": "engine", "engine": "tensorrt", "batch": 8}
    times = desktop.trtexec_times(row, loaded, 3.0)
    assert calls == [(Path("m.engine"), [8], 3.0)] and "third call" in times["measured"]["cuda_graph"]
    assert times["trtexec"][0]["latency_ms"]["p50"] == 4.5 and times["trtexec"][0]["images_per_s"] == 1600
    document = {"models": [row | times], "state": {"during": []}}
    assert desktop.warnings(document) == ["times of trtexec are missing: no trtexec here"]
    assert desktop.trtexec_times(row | {"kind": "onnx"}, loaded, 3.0)["trtexec"] == [] and len(calls) == 1
