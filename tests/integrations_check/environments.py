"""The environments of the check, one for each package whose requirements exclude another's."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".integrations"


@dataclass(frozen=True)
class Environment:
    """What is installed into an environment, and whether it sees the packages of this project's own environment behind that.

    An environment that `shares` torch and the rest needs no gigabytes of its own; what is installed into it comes first.
    """

    packages: tuple[str, ...]
    shares: bool = True


ENVIRONMENTS = {
    "ultralytics": Environment(("ultralytics==8.4.190", "lap==0.5.13")),
    # onnxruntime 1.24.3 is what BoxMOT asks for; an environment of its own keeps it away from ours.
    "boxmot": Environment(("boxmot==25.0.0", "onnxruntime==1.24.3", "opencv-python==4.14.0.94")),
    "deep-sort-realtime": Environment(("deep-sort-realtime==1.3.2", "setuptools<81")),
    "trackers": Environment(("trackers==2.6.1", "supervision==0.31.2")),
    # Norfair and motmetrics need NumPy 1, so they can share nothing.
    "norfair": Environment(
        (
            "norfair==2.3.0",
            "motmetrics==1.4.0",
            "numpy<2",
            "onnxruntime==1.32.0",
            "opencv-python-headless==4.11.0.86",
            "Pillow",
            "rich",
        ),
        shares=False,
    ),
}


def python_of(name: str) -> Path:
    """Create the environment `name` if it is not complete, and return its python."""
    environment, folder = ENVIRONMENTS[name], FOLDER / name
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(environment.packages)
    if ready.is_file() and ready.read_text() == wanted:
        return python
    print(f"integrations-check: installs {', '.join(environment.packages)} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if environment.shares:
        # a .pth file adds its lines to the end of sys.path
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *environment.packages], check=True, stdout=sys.stderr)
    ready.write_text(wanted)
    return python
