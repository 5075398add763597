"""What doctor tells of made-up machines: a root file system and the probes' answers are given to it."""

import dataclasses
import json
import platform

import pytest

from engines.doctor.doctor import diagnose
from engines.doctor.model import examine_model
from engines.doctor.tables import print_report
from engines.machine import Machine
from engines.manifest import engine_manifest
from engines.trtexec.command import BuildRequest
from runtime.files.manifest import write_manifest
from tests.fakes.engine_files import onnx_file

# what a machine may do without
OPTIONAL = {name: {"error": f"{name} is not installed"} for name in ("openvino", "simplejpeg")}
NO_DRIVER = {"error": "no NVIDIA driver (libcuda is missing)"}
CPU_ONLY = {
    "cuda": NO_DRIVER,
    "binding": {"error": "no NVIDIA driver here; install it"},
    "tensorrt": {"error": "not installed (No module named 'tensorrt')"},
    "tensorrt_rtx": {"error": "not installed (No module named 'tensorrt_rtx')"},
    "trtexec": {"error": "no trtexec in PATH; set TRTEXEC=/path/to/trtexec"},
    "onnxruntime": {"version": "1.31.1", "providers": {"CPUExecutionProvider": True}},
}
ORIN = {
    "cuda": {"driver": "12.6", "gpus": [{"name": "Orin", "compute_capability": "8.7", "memory_mib": 7620}]},
    "binding": {"gpu": "Orin", "compute_capability": "8.7"},
    "tensorrt": {"version": "10.3.0"},
    "tensorrt_rtx": {"error": "not installed"},
    "trtexec": {"path": "/usr/src/tensorrt/bin/trtexec", "version": "10.3.0"},
    "onnxruntime": {
        "version": "1.19.0",
        "providers": {"CUDAExecutionProvider": True, "CPUExecutionProvider": True},
    },
}


@pytest.fixture
def root(tmp_path):
    """The system files of an Orin Nano."""
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/meminfo": "MemTotal:        7802856 kB\nMemFree:  1 kB\nMemAvailable:    5242880 kB\n",
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\n",
    }
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "root"


def report_of(root, answers, environment=None, **changed):
    answers = answers | changed
    return diagnose(root=root, environment=environment or {}, probe=(OPTIONAL | answers).__getitem__)


def can(report):
    return {task for task, answer in report["can"].items() if answer["ok"]}


def test_a_jetson_is_read_from_its_system_files(root):
    report = report_of(root, ORIN)
    board = {"model": "NVIDIA Jetson Orin Nano Developer Kit", "l4t": "36.4.3", "jetpack": "6.2"}
    assert report["board"] == board | {"module": None, "soc": None}
    assert report["system"]["os"] == "Ubuntu 22.04.5 LTS" and report["system"]["cpu"] is None
    assert report["memory_gib"] == {"total": 7.4, "available": 5.0, "swap": None, "swap_free": None}
    assert report["disk_free_gib"] > 0 and report["agree"] is True


def test_a_machine_without_these_files_is_no_jetson_and_no_error(tmp_path):
    report = report_of(tmp_path, CPU_ONLY)
    assert set(report["board"].values()) == {None} == set(report["memory_gib"].values())
    assert report["power_mode"] is None and report["cuda_toolkit"] is None
    assert report["system"]["os"] == platform.system()


def test_a_container_is_believed_what_its_environment_says(tmp_path):
    report = report_of(tmp_path, ORIN, {"L4T_VERSION": "36.4.3", "JETPACK_VERSION": "6.2"})
    assert (report["board"]["l4t"], report["board"]["jetpack"]) == ("36.4.3", "6.2")


def test_a_whole_jetson_can_do_all_but_tensorrt_rtx(root):
    report = report_of(root, ORIN)
    assert set(report["can"]) - can(report) == {
        "build TensorRT-RTX engines",
        "run TensorRT-RTX engines",
        "run model.onnx with OpenVINO",
    }


def test_without_a_gpu_onnx_runs_on_the_cpu_and_every_no_has_its_reason(tmp_path):
    report = report_of(tmp_path, CPU_ONLY)
    assert can(report) == {"run model.onnx on the CPU"}
    for task, answer in report["can"].items():
        assert answer["ok"] or "no NVIDIA driver" in answer["why"] or "not installed" in answer["why"], task
    assert report["agree"] is None


def test_tensorrt_rtx_builds_ahead_of_time_without_a_gpu_but_runs_nothing(tmp_path):
    report = report_of(tmp_path, CPU_ONLY, tensorrt_rtx={"version": "1.7.1.116"})
    assert can(report) == {"run model.onnx on the CPU", "build TensorRT-RTX engines"}


def test_versions_that_disagree_are_told_where_engines_are_built(root):
    report = report_of(root, ORIN, tensorrt={"version": "10.13.3.9"})
    assert report["agree"] is False
    built = report["can"]["build engines with trtexec"]
    assert not built["ok"] and "10.13.3.9" in built["why"] and "10.3.0" in built["why"]
    assert report["can"]["build engines with Python"]["ok"]


def test_the_build_number_of_python_is_no_disagreement(root):
    assert report_of(root, ORIN, tensorrt={"version": "10.3.0.26.post1"})["agree"] is True


def test_tensorrt_of_jetpack_5_is_named_as_not_supported(root):
    report = report_of(root, ORIN, tensorrt={"version": "8.5.2.2"}, trtexec={"path": "x", "version": "8.5.2"})
    for task in ("build engines with trtexec", "build engines with Python", "run TensorRT engines"):
        assert "8.5.2" in report["can"][task]["why"] and "not supported" in report["can"][task]["why"]


def test_a_provider_that_is_listed_but_does_not_start_is_told_from_a_missing_one(root):
    listed = {"version": "1", "providers": {"CUDAExecutionProvider": False, "CPUExecutionProvider": True}}
    missing = {"version": "1", "providers": {"CPUExecutionProvider": True}}
    whys = [
        report_of(root, ORIN, onnxruntime=answer)["can"]["run model.onnx on the GPU"]["why"]
        for answer in (listed, missing)
    ]
    assert "does not start" in whys[0] and "has no CUDAExecutionProvider" in whys[1]


def test_a_gpu_that_python_cannot_reach_runs_no_engines(root):
    report = report_of(
        root, ORIN, binding={"error": "no CUDA binding for Python here; pip install cuda-bindings"}
    )
    assert not report["can"]["run TensorRT engines"]["ok"]
    assert report["can"]["build engines with trtexec"]["ok"]


def test_a_driver_without_a_device_and_a_crashed_probe_are_reasons_not_failures(root):
    report = report_of(
        root,
        ORIN,
        cuda={"driver": "12.2", "gpus": [], "error": "a driver, but no CUDA device"},
        tensorrt={"error": "crashed with SIGSEGV"},
    )
    why = report["can"]["run TensorRT engines"]["why"]
    assert "crashed with SIGSEGV" in why and "a driver, but no CUDA device" in why


def test_the_report_is_json_and_its_table_says_that_there_is_no_gpu(tmp_path, root, capsys):
    for where, answers in ((root, ORIN), (tmp_path, CPU_ONLY)):
        report = report_of(where, answers)
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        capsys.readouterr()
        print_report(report)
    table = capsys.readouterr().out
    assert "not a Jetson" in table and "no NVIDIA driver" in table
    assert [line.split("│")[2].strip() for line in table.splitlines() if "│ GPU " in line] == ["none"]


def test_an_engine_is_judged_by_its_manifest_on_this_machine(root, tmp_path):
    parent = onnx_file(tmp_path / "m.onnx")
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"plan")
    here = Machine("10.3.0", "8.7", "Orin", platform.system(), platform.machine(), "36.4.3", "6.2")
    content = engine_manifest(parent, here, BuildRequest(tmp_path / "m.onnx", engine), [])
    report = report_of(root, ORIN)
    write_manifest(engine, content | {"gate": {"passed": True}})
    examination = examine_model(engine, report)
    assert (examination["ok"], examination["why"]) == (True, "built for this machine")
    write_manifest(engine, content | {"machine": dataclasses.asdict(here) | {"gpu": "Thor"}})
    examination = examine_model(engine, report)
    assert (
        not examination["ok"] and "GPU Thor, here Orin" in examination["why"] and "gate" in examination["why"]
    )
    assert "build it with: python -m engines build" not in examination["why"]
    none = examine_model(tmp_path / "none.engine", report)
    assert not none["ok"] and none["missing"][0]["fix"].startswith("python -m engines build MODEL.onnx --out")
    assert "here none" in examine_model(engine, report_of(tmp_path, CPU_ONLY))["why"]


def test_an_engine_of_tensorrt_rtx_needs_that_library_and_not_tensorrt(root, tmp_path):
    parent = onnx_file(tmp_path / "m.onnx")
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"plan")
    rtx = {"tensorrt_rtx": {"version": "1.7.1"}, "tensorrt": {"error": "not installed"}}
    here = Machine("1.7.1", "8.7", "Orin", platform.system(), platform.machine(), "36.4.3", "6.2")
    content = engine_manifest(parent, here, BuildRequest(tmp_path / "m.onnx", engine), [], builder="rtx")
    write_manifest(engine, content | {"gate": {"passed": True}})
    examination = examine_model(engine, report_of(root, ORIN, **rtx))
    assert not any("Python's" in problem["what"] for problem in examination["missing"])


def test_unknown_memory_is_never_shown_as_none(tmp_path, capsys):
    print_report(report_of(tmp_path, CPU_ONLY))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "│ memory " in line]
    assert "unknown" in row and "no swap" not in row and "None" not in row
