"""The machine that an engine is bound to: GPU, TensorRT, operating system, JetPack. Knows nothing of models."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# relative to the root of the file system
RELEASE_FILE = "etc/nv_tegra_release"
RELEASE = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")
# L4T -> JetPack, longest match first. Sources disagree on some; the L4T number decides, JetPack is only shown.
JETPACKS = {
    "35": "5.1",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39": "7.2",
}


@dataclass(frozen=True)
class Machine:
    """What a serialized engine depends on; None is "not known here" (`l4t`, `jetpack`: not a Jetson).

    `tensorrt` "10.3.0", `compute_capability` "8.7", `gpu` its name, `system` "Linux", `processor` "aarch64", `l4t` "36.4.3".
    """

    tensorrt: str | None
    compute_capability: str | None
    gpu: str | None
    system: str
    processor: str
    l4t: str | None
    jetpack: str | None


def this_machine(
    *,
    tensorrt: str | None,
    compute_capability: str | None,
    gpu: str | None,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
) -> Machine:
    """This machine, with what only TensorRT and CUDA can say of it given by the caller."""
    l4t = l4t_version(read_text(root / RELEASE_FILE), environment)
    jetpack = environment.get("JETPACK_VERSION") or jetpack_version(l4t)
    return Machine(tensorrt, compute_capability, gpu, platform.system(), platform.machine(), l4t, jetpack)


def l4t_version(release: str, environment: Mapping[str, str]) -> str | None:
    """`36.4.3` from the text of /etc/nv_tegra_release, or from $L4T_VERSION (containers lack the file); None: no Jetson."""
    if said := environment.get("L4T_VERSION"):
        return said.removeprefix("r").removeprefix("R")
    match = RELEASE.search(release)
    return f"{match[1]}.{match[2]}" if match else None


def jetpack_version(l4t: str | None) -> str | None:
    """`36.4.3` -> `6.2`; None for no Jetson or a release that is not known here."""
    parts = l4t.split(".") if l4t else []
    for length in range(len(parts), 0, -1):
        if found := JETPACKS.get(".".join(parts[:length])):
            return found
    return None


def read_text(path: Path) -> str:
    """A small system file's text without the NUL that ends device-tree entries; "" where it cannot be read."""
    try:
        return path.read_text(errors="replace").rstrip("\0")
    except OSError:
        return ""
