"""Sensors that run in a thread: a pretended tegrastats, files, NVML and nvidia-smi."""

import sys
import threading
import time
import types

import pytest

from benchmarks.device.power import nvml
from benchmarks.device.power import sampling as power
from benchmarks.device.power.gpu_energy import gpu_energy
from benchmarks.device.power.sampling import Sensor, gpu_sensors, jetson_sensors, lines_sensor, open_meter
from tests.fakes.jetson_files import line, put

PROGRAM = """#!{python}
import sys, time
assert sys.argv[1:] == {arguments!r}, sys.argv
for text in {lines!r}:
    print(text, end="", flush=True)
    time.sleep(0.01)
time.sleep({then})
"""


def program(folder, name, lines, arguments, then=60):
    path = folder / name
    path.write_text(PROGRAM.format(python=sys.executable, lines=lines, arguments=arguments, then=then))
    path.chmod(0o755)
    return path


def test_tegrastats_is_read_line_by_line_and_what_is_malformed_is_counted(tmp_path, monkeypatch):
    lines = [line(5000), "garbage\n", "\x00\n", line(7000), line(99000).rstrip("\n")]
    program(tmp_path, "tegrastats", lines, ["--interval", "100"], then=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    (sensor,) = jetson_sensors(tmp_path)
    meter = open_meter([sensor], wait_s=20)
    assert meter.sensor.name == "tegrastats"
    meter._thread.join(timeout=20)
    meter.__exit__(None, None, None)
    assert [sample.rails_mw["VDD_IN"] for sample in meter.samples] == [5000, 7000]
    # the last line has no end: what a killed program leaves, cut off at any digit
    assert meter.malformed == 3 and meter.samples[0].at_s < meter.samples[1].at_s


def test_a_tegrastats_without_rails_gives_way_to_the_files(tmp_path, monkeypatch):
    thor = "RAM 4722/7844MB (lfb 1x512kB) EMC_FREQ 2%@1866 GR3D_FREQ @[1000,1000,1000] APE 150\n"
    program(tmp_path, "tegrastats", [thor], ["--interval", "100"])
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = "sys/class/hwmon/hwmon1"
    put(tmp_path, {f"{folder}/name": "ina3221", f"{folder}/in1_label": "VIN"})
    put(tmp_path, {f"{folder}/in1_input": "19000", f"{folder}/curr1_input": "1000"})
    meter = open_meter(jetson_sensors(tmp_path), wait_s=20)
    meter.__exit__(None, None, None)
    assert not any(thread.name == "power" for thread in threading.enumerate()), "the program was stopped"
    assert meter.sensor.name == "INA3221" and meter.samples[0].rails_mw == {"VIN": 19000}


def test_a_line_without_end_fills_no_memory_and_the_next_one_counts(tmp_path, monkeypatch):
    program(tmp_path, "tegrastats", ["VDD_IN 1mW/1mW " * 20_000 + "\n", line(6000)], ["--interval", "100"])
    monkeypatch.setenv("PATH", str(tmp_path))
    kept = []
    meter = open_meter(jetson_sensors(tmp_path, kept), wait_s=20)
    meter.__exit__(None, None, None)
    assert [sample.rails_mw["VDD_IN"] for sample in meter.samples] == [6000]
    assert meter.malformed > 1 and [text for _, text in kept] == [line(6000)]


def test_a_program_that_starts_after_it_was_given_up_does_not_stay(tmp_path):
    path = program(tmp_path, "slow", [line(5000)] * 3, [])
    sensor = lines_sensor("slow", [str(path)], power.tegrastats_rails)
    sensor.stop()
    before = time.monotonic()
    list(sensor.read())
    assert time.monotonic() - before < 30, "it would print for a minute"


def test_without_any_sensor_there_is_no_meter(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jetson_sensors(tmp_path) == [] and open_meter([]) is None


def test_a_sensor_that_breaks_costs_only_the_energy():
    def breaks():
        yield {"VDD_IN": 1.0}
        raise OSError("gone")

    meter = open_meter([Sensor("broken", breaks, lambda: None)], wait_s=20)
    meter._thread.join(timeout=20)
    assert meter.malformed == 1 and len(meter.samples) == 1


def test_a_program_that_is_not_there_is_no_sensor():
    assert open_meter([lines_sensor("none", ["/no/such/program"], lambda text: {})], wait_s=20) is None


class FakeNvml(types.ModuleType):
    """The four functions of nvidia-ml-py that are used, for cards at 60 W and 250 W; or one that knows no power."""

    class NVMLError(Exception):
        pass

    def __init__(self, power=(60_000, 250_000)):
        super().__init__("pynvml")
        self.power, self.started = power, False

    def nvmlInit(self):
        self.started = True

    def nvmlDeviceGetHandleByIndex(self, index):
        assert self.started
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return ["GPU-a", "GPU-b"].index(uuid)

    def nvmlDeviceGetPowerUsage(self, handle):
        if self.power is None:
            raise self.NVMLError("Not Supported")
        return self.power[handle]


@pytest.mark.parametrize(("visible", "milliwatts"), [("", 60_000), ("1,0", 250_000), ("GPU-b", 250_000)])
def test_nvml_tells_the_power_of_the_card_that_cuda_uses(monkeypatch, visible, milliwatts):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    read = nvml.reader({"CUDA_VISIBLE_DEVICES": visible})
    assert read() == {"GPU_BOARD": milliwatts}


def test_a_card_without_power_or_a_machine_without_nvml_has_no_reader(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(power=None))
    assert nvml.reader({}) is None and gpu_sensors() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.reader({}) is None


def test_nvidia_smi_stands_in_for_nvml(monkeypatch, tmp_path):
    arguments = ["--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=100"]
    program(tmp_path, "nvidia-smi", ["62.13\n", "[N/A]\n", "nan\n", "63\n"], arguments, then=0)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    meter = open_meter(gpu_sensors(), wait_s=20)
    meter._thread.join(timeout=20)
    meter.__exit__(None, None, None)
    assert [sample.rails_mw["GPU_BOARD"] for sample in meter.samples] == [62130, 63000]
    assert meter.malformed == 2


def test_energy_of_a_card_is_gross_and_without_idle(monkeypatch):
    # a busy machine may keep the thread out for a while
    monkeypatch.setattr("benchmarks.device.power.energy.MOST_GAP_S", 60)
    busy = []
    sensor = power.polled_sensor(
        "fake", lambda: {"GPU_BOARD": 100_000.0 if busy else 20_000.0}, interval_ms=5
    )

    def call(turn):
        busy.append(turn)
        time.sleep(0.05)

    (joules,) = gpu_energy([call], 4, sensors=[sensor], least_s=1.0, settle_s=0.3)
    assert joules["sensor"] == "fake" and joules["rail"] == "GPU_BOARD"
    assert joules["idle_w"] == pytest.approx(20)
    # the card has worked for a while before its window opens, so that a sensor that lags behind says so
    assert joules["mean_w"] == pytest.approx(100) and joules["images"] < 4 * len(busy)
    assert joules["net_j_per_image"] < joules["gross_j_per_image"]
    assert gpu_energy([call, call], 4, sensors=[]) == [None, None]
