"""What a Jetson's files say it is: module, chip, JetPack, CUDA, TensorRT's package, power mode. Reads text files, runs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.host.jetson import jetpack_version, read_text, this_l4t

# part number in the device tree -> what is sold under it
MODULES = {
    "p3767-0000": "Jetson Orin NX (16 GB)",
    "p3767-0001": "Jetson Orin NX (8 GB)",
    "p3767-0003": "Jetson Orin Nano (8 GB)",
    "p3767-0004": "Jetson Orin Nano (4 GB)",
    "p3767-0005": "Jetson Orin Nano (8 GB, developer kit)",
    "p3701-0000": "Jetson AGX Orin",
    "p3701-0004": "Jetson AGX Orin (32 GB)",
    "p3701-0005": "Jetson AGX Orin (64 GB)",
    "p3834-0008": "Jetson AGX Thor",
    "p3668-0000": "Jetson Xavier NX (developer kit)",
    "p3668-0001": "Jetson Xavier NX",
    "p3668-0003": "Jetson Xavier NX (16 GB)",
    "p2888-0001": "Jetson AGX Xavier (16 GB)",
    "p2888-0004": "Jetson AGX Xavier (32 GB)",
    "p3448-0000": "Jetson Nano (4 GB)",
}
# chip -> (the name that CUDA gives its GPU, compute capability)
CHIPS = {
    "tegra264": ("NVIDIA Thor", "11.0"),
    "tegra234": ("Orin", "8.7"),
    "tegra194": ("Xavier", "7.2"),
    "tegra186": ("NVIDIA Tegra X2", "6.2"),
    "tegra210": ("NVIDIA Tegra X1", "5.3"),
}
# Debian's "10.3.0.30-1+cuda12.5"
PACKAGE = re.compile(r"^Version: (?:\d+:)?(\d+(?:\.\d+)+)", re.M)
# not one that is commented out
MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)\s*>", re.M)

# "15W", "MODE_20W_6CORE", "7W_AI"
WATTS = re.compile(r"(?<![0-9A-Za-z])(\d{1,4})W(?![0-9A-Za-z])")


def board(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """{model, module, soc, l4t, jetpack}; None for what a machine that is no Jetson lacks.

    `model` is what the device tree calls the board, `module` what its part number stands for, `soc` the chip.
    """
    l4t = this_l4t(root, environment)
    compatible = read_text(root / "proc/device-tree/compatible")
    part = re.search(r"p\d{4}-\d{4}", _newest(compatible))
    chip = re.search(r"tegra\d+", compatible)
    return {
        "model": read_text(root / "proc/device-tree/model").strip() or None,
        "module": MODULES.get(part[0], part[0]) if part else None,
        "soc": chip[0] if chip else None,
        "l4t": l4t,
        "jetpack": environment.get("JETPACK_VERSION") or jetpack_version(l4t),
    }


def cuda_version(root: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """`12.6.68`, of the toolkit in /usr/local/cuda, or what $CUDA_VERSION says; None where neither is there."""
    if said := environment.get("CUDA_VERSION"):
        return said
    folder = root / "usr/local/cuda"
    written = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', read_text(folder / "version.json"))
    older = re.search(r"CUDA Version (\d+(?:\.\d+)+)", read_text(folder / "version.txt"))
    return (written or older or [None, None])[1]


def tensorrt_package(root: Path) -> str | None:
    """`10.3.0.30`, the version of the Debian package that holds TensorRT's library; None without one."""
    return package_version(root, r"libnvinfer\d+")


def package_version(root: Path, name: str) -> str | None:
    """The upstream version of an installed Debian package, `name` as a pattern; None where it is not installed."""
    for entry in read_text(root / "var/lib/dpkg/status").split("\n\n"):
        if re.match(rf"\s*Package: (?:{name})$", entry, re.M) and " installed" in entry:
            found = PACKAGE.search(entry)
            return found[1] if found else None
    return None


def driver_release(root: Path) -> str | None:
    """`540.4.0`, the release of NVIDIA's kernel driver that is loaded; None without one."""
    found = re.search(r"NVRM version:.*?(\d{3,}(?:\.\d+)+)", read_text(root / "proc/driver/nvidia/version"))
    return found[1] if found else None


def power_modes(root: Path) -> dict[int, str]:
    """Number -> name of every power mode that this board has, by /etc/nvpmodel.conf."""
    return {int(number): name for number, name in MODE.findall(read_text(root / "etc/nvpmodel.conf"))}


def power_mode(root: Path, said: str = "") -> dict[str, Any] | None:
    """{id, name} of the mode that is set; None where nothing says so.

    `said` is what `nvpmodel -q` printed; without it the file counts in which nvpmodel keeps its choice.
    """
    name = re.search(r"NV Power Mode:\s*(\S+)", said)
    number = re.search(r"^\s*(\d+)\s*$", said, re.M)
    if number is None:
        number = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    known = power_modes(root)
    mode = int(number[1]) if number else next((key for key in known if name and known[key] == name[1]), None)
    if mode is None and name is None:
        return None
    return {"id": mode, "name": name[1] if name else known.get(mode) if mode is not None else None}


def fastest_mode(root: Path) -> int | None:
    """The number that `nvpmodel -m` takes for the board's fastest mode; None where its list of modes does not tell.

    That is the mode without limits, or on boards without one the only mode of the most watts: of several, such as a Xavier NX's
    20 W on two, four or six cores, none is the fastest for every model.
    """
    modes = power_modes(root)
    # some boards have both: MAXN of before JetPack 6.2, and MAXN_SUPER
    best = [number for name in ("MAXN_SUPER", "MAXN") for number in modes if modes[number] == name]
    if best:
        return best[0]
    watts = {number: int(found[1]) for number, name in modes.items() if (found := WATTS.search(name))}
    most = [number for number, value in watts.items() if value == max(watts.values())]
    # a mode whose watts nobody knows might be faster
    return most[0] if len(most) == 1 and len(watts) == len(modes) else None


def gpu_of(found: Mapping[str, Any]) -> tuple[str, str] | None:
    """(name, compute capability) of the GPU in the chip of a `board` answer."""
    return CHIPS.get(str(found["soc"]))


def _newest(compatible: str) -> str:
    """The entry of the device tree's list that names the module: carrier boards stand before their modules."""
    # "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234"
    entries = [entry for entry in compatible.split("\0") if re.search(r"p\d{4}-\d{4}", entry)]
    alone = [entry for entry in entries if "+" not in entry]
    return (alone or entries or [""])[-1].split("+")[-1]
