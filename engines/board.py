"""Read the module, chip, JetPack, CUDA, TensorRT package and power mode of a Jetson from its system files. Runs no program.

In every function, `root` is the root folder of the machine's file system, and `environment` holds its environment variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.host.jetson import jetpack_version, read_text, this_l4t

# {part number in the device tree: product name}
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
# {chip: (CUDA's name of its GPU, compute capability)}
CHIPS = {
    "tegra264": ("NVIDIA Thor", "11.0"),
    "tegra234": ("Orin", "8.7"),
    "tegra194": ("Xavier", "7.2"),
    "tegra186": ("NVIDIA Tegra X2", "6.2"),
    "tegra210": ("NVIDIA Tegra X1", "5.3"),
}
# matches the line of a Debian package "Version: 10.3.0.30-1+cuda12.5" and gives 10.3.0.30
PACKAGE_VERSION = re.compile(r"^Version: (?:\d+:)?(\d+(?:\.\d+)+)", re.M)
# a power mode in /etc/nvpmodel.conf: its number and name; a line that is commented out does not match
MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)\s*>", re.M)

# the watts in the name of a power mode, such as "15W", "MODE_20W_6CORE" or "7W_AI"
WATTS = re.compile(r"(?<![0-9A-Za-z])(\d{1,4})W(?![0-9A-Za-z])")


def board(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Describe the Jetson as {model, module, soc, l4t, jetpack}, all texts; a value that the files do not contain is None.

    `model` is the name of the board in the device tree. `module` is the product name of the module, or its part number if the name is
    not known. `soc` is the chip. `l4t` is the release of Jetson Linux, and `jetpack` the JetPack that contains it.
    """
    l4t = this_l4t(root, environment)
    compatible = read_text(root / "proc/device-tree/compatible")
    part = re.search(r"p\d{4}-\d{4}", _module_entry(compatible))
    chip = re.search(r"tegra\d+", compatible)
    return {
        "model": read_text(root / "proc/device-tree/model").strip() or None,
        "module": MODULES.get(part[0], part[0]) if part else None,
        "soc": chip[0] if chip else None,
        "l4t": l4t,
        "jetpack": environment.get("JETPACK_VERSION") or jetpack_version(l4t),
    }


def cuda_version(root: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the CUDA version, such as `12.6.68`; None if it is not known.

    It is the environment variable CUDA_VERSION or, without it, the version of the toolkit in /usr/local/cuda.
    """
    if variable := environment.get("CUDA_VERSION"):
        return variable
    folder = root / "usr/local/cuda"
    in_json = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', read_text(folder / "version.json"))
    # older toolkits have a text file
    in_text = re.search(r"CUDA Version (\d+(?:\.\d+)+)", read_text(folder / "version.txt"))
    return (in_json or in_text or [None, None])[1]


def tensorrt_package(root: Path) -> str | None:
    """Return the version of the installed Debian package that contains TensorRT, such as `10.3.0.30`; None if there is none."""
    return package_version(root, r"libnvinfer\d+")


def package_version(root: Path, name: str) -> str | None:
    """Return the version of an installed Debian package, without Debian's revision; None if the package is not installed.

    `name` is a regular expression for the whole name of the package.
    """
    for entry in read_text(root / "var/lib/dpkg/status").split("\n\n"):
        if re.match(rf"\s*Package: (?:{name})$", entry, re.M) and " installed" in entry:
            version = PACKAGE_VERSION.search(entry)
            return version[1] if version else None
    return None


def driver_release(root: Path) -> str | None:
    """Return the release of the loaded NVIDIA kernel driver, such as `540.4.0`; None if no driver is loaded."""
    release = re.search(r"NVRM version:.*?(\d{3,}(?:\.\d+)+)", read_text(root / "proc/driver/nvidia/version"))
    return release[1] if release else None


def power_modes(root: Path) -> dict[int, str]:
    """Return {number: name} of the power modes that /etc/nvpmodel.conf lists for the board; {} if there is no such file."""
    return {int(number): name for number, name in MODE.findall(read_text(root / "etc/nvpmodel.conf"))}


def power_mode(root: Path, nvpmodel_output: str = "") -> dict[str, Any] | None:
    """Return {id, name} of the current power mode, its number and its name; None if it is not known.

    `nvpmodel_output` is what `nvpmodel -q` printed. If it has no number, the number comes from nvpmodel's status file.
    """
    name = re.search(r"NV Power Mode:\s*(\S+)", nvpmodel_output)
    number = re.search(r"^\s*(\d+)\s*$", nvpmodel_output, re.M)
    if number is None:
        number = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    modes = power_modes(root)
    mode = int(number[1]) if number else next((key for key in modes if name and modes[key] == name[1]), None)
    if mode is None and name is None:
        return None
    return {"id": mode, "name": name[1] if name else modes.get(mode) if mode is not None else None}


def fastest_mode(root: Path) -> int | None:
    """Return the number of the board's fastest power mode, as `nvpmodel -m` takes it; None if it is not known.

    The fastest mode is the one without limits (MAXN) or, if there is none, the mode with the most watts. If several modes have the
    most watts, the result is None, because another one may be the fastest for another model. For example, a Xavier NX has 20 W modes
    with two, four and six cores.
    """
    modes = power_modes(root)
    # some boards have both: MAXN, and MAXN_SUPER since JetPack 6.2
    unlimited = [number for name in ("MAXN_SUPER", "MAXN") for number in modes if modes[number] == name]
    if unlimited:
        return unlimited[0]
    watts = {number: int(match[1]) for number, name in modes.items() if (match := WATTS.search(name))}
    most = [number for number, value in watts.items() if value == max(watts.values())]
    # a mode with unknown watts might be faster
    return most[0] if len(most) == 1 and len(watts) == len(modes) else None


def gpu_of(board_facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (name, compute capability) of the GPU in a Jetson's chip; None for an unknown chip.

    `board_facts` is the result of `board`.
    """
    return CHIPS.get(str(board_facts["soc"]))


def _module_entry(compatible: str) -> str:
    """Return the entry of the device tree's list `compatible` that names the module; the list names the carrier board first."""
    # "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234"
    entries = [entry for entry in compatible.split("\0") if re.search(r"p\d{4}-\d{4}", entry)]
    modules = [entry for entry in entries if "+" not in entry]
    return (modules or entries or [""])[-1].split("+")[-1]
