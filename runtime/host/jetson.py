"""Find the release of Jetson Linux (L4T) on this machine, and the JetPack version that contains it. Reads text files only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# relative to the root of the file system
RELEASE_FILE = "etc/nv_tegra_release"
RELEASE = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")
# {L4T release: the JetPack version that contains it}. The sources are NVIDIA's archive of JetPack releases, and the tables of
# jetson_stats and jetson-containers; if they disagree, the archive is right. Comparisons use the L4T release. JetPack is only shown.
JETPACKS = {
    "32.1.0": "4.2",
    "32.2.0": "4.2.1",
    "32.2.1": "4.2.2",
    "32.2.3": "4.2.3",
    "32.3.1": "4.3",
    "32.4.2": "4.4 DP",
    "32.4.3": "4.4",
    "32.4.4": "4.4.1",
    "32.5.0": "4.5",
    "32.5.1": "4.5.1",
    "32.5.2": "4.5.1",
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1.0": "5.0 DP",
    "34.1.1": "5.0.1 DP",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "35.6.4": "5.1.6",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.2": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}


def this_l4t(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the L4T release of the machine with the file system `root`, such as `36.4.3`; None if it is not a Jetson.

    `environment` has the environment variables, as in `l4t_version`.
    """
    return l4t_version(read_text(root / RELEASE_FILE), environment)


def l4t_version(release: str, environment: Mapping[str, str]) -> str | None:
    """Return the L4T release, such as `36.4.3`, or None if the machine is not a Jetson.

    `release` is the text of /etc/nv_tegra_release, "" if there is no such file. If `environment` has L4T_VERSION, its value is
    returned instead, because containers have no such file.
    """
    if version := environment.get("L4T_VERSION"):
        return version.removeprefix("r").removeprefix("R")
    match = RELEASE.search(release)
    return f"{match[1]}.{match[2]}" if match else None


def jetpack_version(l4t: str | None) -> str | None:
    """Return the JetPack version of an L4T release: `36.4.3` -> `6.2`; None if `l4t` is None or is not in JETPACKS."""
    return JETPACKS.get(l4t) if l4t else None


def read_text(path: Path) -> str:
    """Return the text of a small system file, without the NUL that ends device-tree entries; "" if it cannot be read."""
    try:
        return path.read_text(errors="replace").rstrip("\0")
    except OSError:
        return ""
