"""Questions to native libraries in child processes, and the driver's answers read from a fake libcuda."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from engines import probe

ROOT = Path(__file__).resolve().parents[2]


class FakeDriver:
    """The few functions of libcuda that the probe calls, for one GPU or a failing cuInit."""

    def __init__(self, code=0, count=1):
        self.code, self.count = code, count

    def cuInit(self, flags):
        return self.code

    def cuDriverGetVersion(self, version):
        version._obj.value = 12060

    def cuDeviceGetCount(self, count):
        assert not self.code, "asked after a failed cuInit"
        count._obj.value = self.count

    def cuDeviceGet(self, device, index):
        device._obj.value = 40 + index

    def cuDeviceGetName(self, name, size, device):
        assert device.value == 40 and size == len(name)
        name.value = b"Orin"

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 8 << 30

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {75: 8, 76: 7}[attribute]


def with_driver(monkeypatch, driver):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    return probe.cuda()


def test_the_fake_driver_gives_version_and_gpu(monkeypatch):
    gpu = {"name": "Orin", "compute_capability": "8.7", "memory_mib": 8192}
    assert with_driver(monkeypatch, FakeDriver()) == {"driver": "12.6", "gpus": [gpu]}


@pytest.mark.parametrize(
    ("code", "reason"), [(34, "stub"), (100, "a driver, but no CUDA device"), (803, "cuInit failed with 803")]
)
def test_a_fake_driver_that_does_not_start_is_told_apart(monkeypatch, code, reason):
    answer = with_driver(monkeypatch, FakeDriver(code))
    assert reason in answer["error"] and answer["driver"] == "12.6" and answer["gpus"] == []


def test_no_driver_is_an_answer(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert probe.cuda() == {"error": "no NVIDIA driver (libcuda is missing)"}


def answers_of(monkeypatch, code):
    """What `run_probe` makes of a child that runs `code` instead of the probe."""
    real = subprocess.run

    def run(command, **options):
        return real([sys.executable, "-c", code], **options)

    monkeypatch.setattr(subprocess, "run", run)
    return probe.run_probe("cuda", timeout_s=20)


def test_a_probe_that_crashes_costs_only_its_own_answer(monkeypatch):
    answer = answers_of(monkeypatch, "import os; os.kill(os.getpid(), 11)")
    assert answer == {"error": "crashed with SIGSEGV"}


def test_a_probe_that_prints_before_its_answer_is_understood(monkeypatch):
    assert answers_of(monkeypatch, "print('[W] a library'); print('{\"version\": \"1\"}')") == {
        "version": "1"
    }


def test_a_probe_that_ends_without_an_answer_tells_its_last_line(monkeypatch):
    answer = answers_of(monkeypatch, "import sys; print('first', file=sys.stderr); sys.exit('last')")
    assert answer == {"error": "exit status 1: last"}


def test_a_probe_that_hangs_is_given_up(monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert probe.run_probe("cuda", timeout_s=3) == {"error": "no answer within 3 s"}


def test_probes_answer_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = probe.run_probe("onnxruntime")
    assert answer["providers"]["CPUExecutionProvider"] is True


def test_a_provider_that_falls_back_in_silence_or_raises_is_not_loaded(monkeypatch):
    def session(model, options, providers):
        if providers == ["TensorrtExecutionProvider"]:
            raise RuntimeError("libnvinfer.so.10 is missing")
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    fake = SimpleNamespace(
        __version__="1.31.1",
        get_available_providers=lambda: names,
        SessionOptions=lambda: None,
        InferenceSession=session,
    )
    monkeypatch.setattr("runtime.backends.onnxruntime.onnxruntime", fake)
    assert probe.onnxruntime()["providers"] == dict(zip(names, (False, False, True)))


def test_a_refusal_is_an_answer_too():
    environment = os.environ | {"TRTEXEC": "/none"}
    command = [sys.executable, "-m", "engines.probe", "trtexec"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "TRTEXEC=/none" in json.loads(done.stdout.splitlines()[-1])["error"]


def test_the_smallest_model_is_a_valid_onnx_file():
    model = onnx.load_from_string(probe.identity_model())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
