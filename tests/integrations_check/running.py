"""Export files, and run the checks of one tracker inside its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from runtime.files.manifest import read_manifest
from tests.integrations_check.environments import FOLDER, ROOT, python_of

# Environment -> (the module in_NAME.py, the program of --for whose file it gets).
CHECKS = {
    "ultralytics": ("ultralytics", "ultralytics"),
    "boxmot": ("boxmot", "boxmot"),
    "deep-sort-realtime": ("deep_sort_realtime", "boxmot"),
    "norfair": ("norfair", "boxmot"),
    "trackers": ("trackers", "boxmot"),
}
SCORER = "norfair"
VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")


def exported(program: str, model: Path, work: Path) -> Path:
    """Export the model for a program of --for into the folder `work`, unless this was done before; return the ONNX file."""
    out = work / f"{model.parent.name}.{program}.onnx"
    source = read_manifest(model)["sha256"]
    if not (out.is_file() and read_manifest(out)["parent"] == source):
        words = [str(model), "--out", str(out), "--for", program]
        subprocess.run([sys.executable, "export_onnx.py", *words], cwd=ROOT, check=True, stdout=sys.stderr)
    return out


def run(name: str, module: str, request: dict, work: Path) -> dict:
    """Run `in_MODULE.py` in the environment `name`, and return its result."""
    python = python_of(name)
    job, out = work / f"{module}.job.json", work / f"{module}.out.json"
    job.write_text(json.dumps(request))
    out.unlink(missing_ok=True)
    words = [str(python), "-m", "tests.integrations_check.child", module, str(job), str(out)]
    subprocess.run(words, cwd=ROOT, check=True, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return json.loads(out.read_text())


def vtest() -> Path | None:
    """Return vtest.avi of Debian's package opencv-doc, which is downloaded but not installed; None where it cannot be had."""
    kept = FOLDER / "vtest.avi"
    for path in (VTEST, kept):
        if path.is_file():
            return path
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    folder = FOLDER / "opencv-doc"
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"stdout": sys.stderr, "stderr": sys.stderr}
    done = subprocess.run(["apt-get", "download", "opencv-doc"], cwd=folder, **quiet)
    packages = list(folder.glob("*.deb"))
    if done.returncode or not packages:
        return None
    subprocess.run(["dpkg-deb", "--extract", str(packages[0]), str(folder / "files")], check=True)
    found = list((folder / "files").rglob("vtest.avi"))
    if found:
        shutil.copyfile(found[0], kept)
    shutil.rmtree(folder)
    return kept if found else None
