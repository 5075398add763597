"""A Jetson's files of every JetPack 6 and 7 release, and doctor on each of them."""

import json

import pytest

from engines import board
from engines.doctor.doctor import diagnose
from engines.doctor.tables import print_report
from tests.fakes.jetson_files import ROWS, put, put_board

CAPABILITIES = {"tegra234": ("Orin", "8.7"), "tegra264": ("NVIDIA Thor", "11.0")}
MODULES = {
    "p3767-0005": "Jetson Orin Nano (8 GB, developer kit)",
    "p3701-0005": "Jetson AGX Orin (64 GB)",
    "p3834-0008": "Jetson AGX Thor",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.l4t}-{row.chip}-{row.tensorrt}")
def test_doctor_reads_every_release_from_its_files(tmp_path, row, capsys):
    report = diagnose(root=put_board(tmp_path, row), environment={})
    assert (report["board"]["l4t"], report["board"]["jetpack"]) == (row.l4t, row.jetpack)
    assert (report["board"]["soc"], report["board"]["module"]) == (row.chip, MODULES[row.part])
    (gpu,) = report["cuda"]["gpus"]
    assert (gpu["name"], gpu["compute_capability"]) == CAPABILITIES[row.chip]
    assert gpu["memory_mib"] == 7802856 // 1024
    assert report["cuda_toolkit"] == f"{row.cuda}.68" and report["driver_release"] == "540.4.0"
    assert report["tensorrt_package"] == f"{row.tensorrt}.30"
    assert report["trtexec"] == {"path": "/usr/src/tensorrt/bin/trtexec", "version": row.tensorrt}
    assert report["tensorrt"]["version"] == f"{row.tensorrt}.30" and report["agree"] is True
    assert report["power_mode"] == {"id": 2, "name": "MAXN_SUPER"}
    assert report["memory_gib"] == {"total": 7.4, "available": 5.0, "swap": 3.7, "swap_free": 3.7}
    assert report["system"]["os"] == f"Ubuntu {row.ubuntu} LTS" and report["system"]["machine"] == "aarch64"
    can = {task for task, answer in report["can"].items() if answer["ok"]}
    assert can == {"build engines with trtexec", "build engines with Python"}
    assert "--root" in report["can"]["run TensorRT engines"]["why"], "nor is it promised"
    print_report(json.loads(json.dumps(report, allow_nan=False)))
    table = capsys.readouterr().out
    for words in (
        f"JetPack {row.jetpack or 'unknown'}",
        MODULES[row.part],
        "MAXN_SUPER",
        "the same version",
        gpu["name"],
    ):
        assert words in table


# The parts of the report that each file of the board decides; no other file decides any.
DECIDES = {
    "etc/nv_tegra_release": {"board"},
    "etc/nvpmodel.conf": {"power_mode"},
    "etc/os-release": {"system"},
    "proc/meminfo": {"cuda", "memory_gib"},
    "proc/driver/nvidia/version": {"driver_release"},
    "proc/device-tree/model": {"board"},
    "proc/device-tree/compatible": {"board", "can", "cuda", "system"},
    "usr/src/tensorrt/bin/trtexec": {"agree", "can", "trtexec"},
    "usr/local/cuda/version.json": {"cuda_toolkit"},
    "var/lib/dpkg/status": {"agree", "can", "tensorrt", "tensorrt_package", "trtexec"},
    "var/lib/nvpmodel/status": {"power_mode"},
}


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 500, b"nan\n", b"9" * 5000, None], ids=str)
def test_a_damaged_file_costs_its_own_answer_and_never_the_report(tmp_path, content):
    root = put_board(tmp_path)
    whole = diagnose(root=root, environment={})
    for path in [path for path in root.rglob("*") if path.is_file()]:
        kept = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        report = diagnose(root=root, environment={})
        json.dumps(report, allow_nan=False)
        print_report(report)
        changed = {part for part in whole | report if whole.get(part) != report.get(part)}
        assert changed <= DECIDES.get(path.relative_to(root).as_posix(), set())
        path.write_bytes(kept)


def test_a_machine_that_is_no_jetson_has_none_of_it(tmp_path):
    assert set(board.board(tmp_path, {}).values()) == {None}
    assert board.cuda_version(tmp_path, {}) is None and board.tensorrt_package(tmp_path) is None
    assert board.power_mode(tmp_path) is None and board.power_modes(tmp_path) == {}
    assert board.driver_release(tmp_path) is None and board.fastest_mode(tmp_path) is None
    report = diagnose(root=tmp_path, environment={})
    assert report["cuda"]["gpus"] == [] and not report["can"]["run TensorRT engines"]["ok"]


@pytest.mark.parametrize(
    ("output", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", {"id": 0, "name": "MAXN"}),
        (
            "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W_ALL\n3\n",
            {"id": 3, "name": "MODE_30W_ALL"},
        ),
        ("NV Power Mode: 15W\n", {"id": 2, "name": "15W"}),
        ("", {"id": 2, "name": "MAXN_SUPER"}),
    ],
)
def test_what_nvpmodel_says_comes_before_its_file(tmp_path, output, mode):
    assert board.power_mode(put_board(tmp_path), output) == mode


def test_a_mode_known_by_its_name_alone_gets_its_number_from_the_list(tmp_path):
    put(tmp_path, {"etc/nvpmodel.conf": "< POWER_MODEL ID=7 NAME=15W >\n"})
    assert board.power_mode(tmp_path, "NV Power Mode: 15W\n") == {"id": 7, "name": "15W"}


def test_the_fastest_of_two_modes_without_limits_is_the_newer(tmp_path):
    both = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=10W >\n< POWER_MODEL ID=4 NAME=MAXN_SUPER >\n"
    put(tmp_path, {"etc/nvpmodel.conf": both})
    assert board.fastest_mode(tmp_path) == 4


XAVIER_NX = "\n".join(
    f"< POWER_MODEL ID={number} NAME={name} >"
    for number, name in enumerate(
        "MODE_15W_2CORE MODE_15W_4CORE MODE_15W_6CORE MODE_10W_2CORE MODE_10W_4CORE MODE_10W_DESKTOP MODE_20W_2CORE "
        "MODE_20W_4CORE MODE_20W_6CORE".split()
    )
)


@pytest.mark.parametrize(
    ("modes", "fastest"),
    [
        # which of three modes of 20 W is the fastest depends on the model
        (XAVIER_NX, None),
        # Orin Nano before JetPack 6.2, whose mode without limits came later
        ("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >", 0),
        (
            "< POWER_MODEL ID=0 NAME=10W >\n< POWER_MODEL ID=1 NAME=7W_AI >\n< POWER_MODEL ID=2 NAME=7W_CPU >",
            0,
        ),
        (
            "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
            2,
        ),
        # Thor
        ("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >", 0),
        ("< POWER_MODEL ID=1 NAME=120W >\n< POWER_MODEL ID=3 NAME=70W >", 1),
        # TX2
        ("< POWER_MODEL ID=1 NAME=MAXQ >\n< POWER_MODEL ID=0 NAME=MAXN >", 0),
        ("< POWER_MODEL ID=1 NAME=MAXQ >\n< POWER_MODEL ID=3 NAME=MAXP_CORE_ARM >", None),
        ("< POWER_MODEL ID=0 NAME=MY_MODE >\n< POWER_MODEL ID=1 NAME=15W >", None),
        ("# < POWER_MODEL ID=5 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=7W >\n  <POWER_MODEL ID=2 NAME=9W>", 2),
        ("< POWER_MODEL ID=0 NAME=", None),
    ],
)
def test_the_fastest_mode_is_one_that_the_board_lists_or_none(tmp_path, modes, fastest):
    put(tmp_path, {"etc/nvpmodel.conf": modes})
    assert board.fastest_mode(tmp_path) == fastest


def test_cuda_of_jetpack_4_and_of_a_container(tmp_path):
    put(tmp_path, {"usr/local/cuda/version.txt": "CUDA Version 10.2.300\n"})
    assert board.cuda_version(tmp_path, {}) == "10.2.300"
    assert board.cuda_version(tmp_path, {"CUDA_VERSION": "13.0"}) == "13.0"


def test_a_removed_package_and_one_of_another_name_are_not_tensorrt(tmp_path):
    removed = "Package: libnvinfer8\nStatus: deinstall ok config-files\nVersion: 8.6.2.3-1+cuda12.2"
    other = "Package: libnvinfer-bin\nStatus: install ok installed\nVersion: 10.3.0.30-1"
    put(tmp_path, {"var/lib/dpkg/status": f"{removed}\n\n{other}\n"})
    assert board.tensorrt_package(tmp_path) is None
