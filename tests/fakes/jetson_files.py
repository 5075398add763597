"""The system files of an invented Jetson, and a recorded run on it. No number here was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NVPMODEL = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"


@dataclass(frozen=True)
class Row:
    """A release of JetPack from NVIDIA's table of releases, and a board that it runs on."""

    l4t: str
    jetpack: str
    ubuntu: str
    cuda: str
    tensorrt: str
    chip: str = "tegra234"
    part: str = "p3767-0005"


ROWS = [
    Row("36.3.0", "6.0", "22.04", "12.2", "8.6.2"),
    Row("36.4.0", "6.1", "22.04", "12.6", "10.3.0"),
    Row("36.4.3", "6.2", "22.04", "12.6", "10.3.0"),
    Row("36.4.4", "6.2.1", "22.04", "12.6", "10.3.0"),
    Row("36.4.7", "6.2.1", "22.04", "12.6", "10.3.0"),
    Row("36.5.0", "6.2.2", "22.04", "12.6", "10.3.0"),
    Row("38.2.1", "7.0", "24.04", "13.0", "10.13.3", "tegra264", "p3834-0008"),
    Row("38.4.0", "7.1", "24.04", "13.0", "10.13.3", "tegra264", "p3834-0008"),
    Row("39.2.0", "7.2", "24.04", "13.2", "10.16.1", "tegra234", "p3701-0005"),
    Row("39.2.0", "7.2", "24.04", "13.2", "10.16.1", "tegra264", "p3834-0008"),
    Row("39.4.0", None, "24.04", "13.2", "11.4.1", "tegra264", "p3834-0008"),
]
ORIN = ROWS[2]


def put(root: Path, files: dict[str, str]) -> None:
    """Write the `files` (path below `root` -> text), and create their folders."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def packages(row: Row) -> str:
    """Return dpkg's list of installed packages, in which the TensorRT packages of a release are among others."""
    major = row.tensorrt.split(".")[0]
    version = f"{row.tensorrt}.30-1+cuda{row.cuda}"
    names = {"bash": "5.1-6ubuntu1.1", f"libnvinfer{major}": version, f"libnvinfer-plugin{major}": version}
    names |= {"libnvinfer-bin": version, "python3-libnvinfer": version}
    return "\n\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {version}"
        for name, version in names.items()
    )


def put_board(root: Path, row: Row = ORIN, *, mode: int = 2, locked: bool = True) -> Path:
    """Write the system files of an Orin or a Thor below `root`, with a release, a power mode and locked or free clocks."""
    release, revision = row.l4t.split(".", 1)
    low = {"gpu": 1020000000, "cpu": 1728000} if locked else {"gpu": 306000000, "cpu": 729600}
    part = f"nvidia,p3768-0000+{row.part}\0nvidia,{row.part}\0nvidia,{row.chip}"
    put(
        root,
        {
            "etc/nv_tegra_release": f"# R{release} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n",
            "etc/os-release": f'PRETTY_NAME="Ubuntu {row.ubuntu} LTS"\n',
            "etc/nvpmodel.conf": NVPMODEL,
            "var/lib/nvpmodel/status": f"pmode:{mode:04d}",
            "var/lib/dpkg/status": packages(row),
            "usr/local/cuda/version.json": json.dumps(
                {"cuda": {"name": "CUDA SDK", "version": f"{row.cuda}.68"}}
            ),
            "usr/src/tensorrt/bin/trtexec": "a program",
            "proc/device-tree/model": "NVIDIA Jetson Developer Kit\0",
            "proc/device-tree/compatible": part + "\0",
            "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build",
            "proc/meminfo": "MemTotal: 7802856 kB\nMemAvailable: 5242880 kB\nSwapTotal: 3901424 kB\nSwapFree: 3901424 kB\n",
            "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
            "sys/class/devfreq/17000000.gpu/min_freq": f"{low['gpu']}\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
            "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
            "sys/class/devfreq/15340000.vic/cur_freq": "1\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1728000\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": f"{low['cpu']}\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1728000\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48250\n",
            "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "-256000\n",
            "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
            "sys/class/thermal/cooling_device0/cur_state": "3\n",
            "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
            "sys/class/thermal/cooling_device1/cur_state": "0\n",
            "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
        },
    )
    return root


def line(milliwatts: int) -> str:
    """Return a line of JetPack 6's tegrastats on an Orin Nano whose board draws `milliwatts`."""
    return (
        "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) CPU [9%@729] GR3D_FREQ 84%@[713] APE 174 cv0@63.031C "
        f"gpu@63.5C tj@65.562C VDD_IN {milliwatts}mW/15710mW VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW\n"
    )


def put_recording(folder: Path, *, power: bool = True, names: tuple[str, ...] = ("m.engine",)) -> Path:
    """Write a recorded run to `folder`: 12 s idle at 5 W, then at 15 W, for each model, 12 s of batch 1 and 12 s of batch 8."""
    put_board(folder / "root")
    count = 120 + 240 * len(names) + 1
    lines = [line(5000 if number < 120 else 15000) for number in range(count)]
    # Damaged lines, as a bad cable, a full disk and a killed program leave them.
    lines[130] = "\x00\x00 garbage\n"
    lines[140] = line(15000)[:60] + "\n"
    text = "".join(lines if power else ["RAM 1/2MB (lfb 1x4MB)\n"] * count)
    put(folder, {"tegrastats.txt": text + line(15000)[:-20], "trtexec.txt": trtexec_text()})
    models = [_recorded(name, 12.0 + 24 * number) for number, name in enumerate(names)]
    timing = {
        "interval_s": 0.1,
        "idle": [0.0, 11.9],
        "host": {"device": "jetson", "processor": "aarch64", "usable_cores": 6},
        "images": {"source": "crops of data/anny_reid", "count": 128},
        "models": models,
    }
    put(folder, {"timing.json": json.dumps(timing)})
    return folder


def trtexec_text() -> str:
    """Return the summary that trtexec 10.3 prints after a run."""
    times = (
        "min = 4 ms, max = 6 ms, mean = 5 ms, median = 4.5 ms, percentile(90%) = 5 ms, percentile(99%) = 6 ms"
    )
    return (
        "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec\n"
        "[11/02/2026-10:00:01] [I] Throughput: 200 qps\n"
        f"[11/02/2026-10:00:01] [I] Latency: {times}\n"
        f"[11/02/2026-10:00:01] [I] GPU Compute Time: {times}\n"
        "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec\n"
    )


def _recorded(name: str, start: float) -> dict[str, Any]:
    facts = {
        "path": f"/models/{name}",
        "sha256": "ab" * 32,
        "engine": "tensorrt",
        "kind": "engine",
        "precision": "fp16",
    }
    scenes = [
        {
            "name": "batch 1",
            "batch": 1,
            "wall_ms": [10.0, 12.0, 11.0],
            "images": 1000,
            "window": [start, start + 12],
        },
        {
            "name": "8 persons",
            "batch": 8,
            "wall_ms": [40.0] * 3,
            "images": 2400,
            "window": [start + 12, start + 24],
        },
    ]
    beside = [
        {"batch": 1, "transfers": False, "line": ["trtexec", "--noDataTransfers"], "output": "trtexec.txt"},
        {"batch": 1, "transfers": True, "why": "not recorded"},
    ]
    gallery = {"images": 100, "passes": 3, "batch": 32, "window": [start + 12, start + 24]}
    accuracy = {"mAP": 0.8, "R1": 0.9, "queries": 20}
    return {"facts": facts, "accuracy": accuracy, "scenes": scenes, "gallery": gallery, "trtexec": beside}
