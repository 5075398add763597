"""Which Jetson release this machine runs: its L4T number, and the JetPack of that. Reads text files only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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


def this_l4t(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> str | None:
    """The L4T release of the machine whose file system is `root`; None: no Jetson."""
    return l4t_version(read_text(root / RELEASE_FILE), environment)


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
