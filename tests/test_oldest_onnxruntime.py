"""The oldest ONNX Runtime that setup.cfg promises runs our files beside the NumPy that pip chooses for it."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from export import cli as command
from prune.model.file import save_model
from runtime.entry import guarded
from runtime.features import load_features
from runtime.files.manifest import read_manifest
from tests.fakes import lite
from tests.fakes.pictures import write_crops

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.full
# Between two versions of one library on one processor: their kernels sum in other orders. FP16 rounds what follows, and INT8 may round
# to a neighbouring step.
LOWEST = {"fp32": 0.99999, "int8": 0.999, "fp16": 0.9999}
FORMS = {
    "fp32": (),
    "int8": ("--precision", "int8"),
    "fp16": ("--precision", "fp16", "--target", "tensorrt"),
}


def promised(extra: str, name: str) -> str:
    """The version of `name>=VERSION` in an extra of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    match = re.search(rf"^{name}>=([\d.]+)$", config["options.extras_require"][extra], re.M)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with that ONNX Runtime and what else the runtime needs, as pip chooses it, and without torch."""
    folder = tmp_path_factory.mktemp("oldest")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = [f"onnxruntime=={promised('cpu', 'onnxruntime')}", "numpy", "Pillow", "rich"]
    install = [folder / "bin/pip", "install", "-q", "--disable-pip-version-check", "--retries", "1", *wanted]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install {wanted[0]} here: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"), 24)


def extract(python, model, crops, out):
    words = ["-m", "runtime", "extract", model, crops, "--out", out, "--allow-ungated"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_features(out).features


@pytest.mark.parametrize("precision", FORMS)
def test_the_oldest_promised_version_runs_what_we_write(precision, python, crops, tmp_path):
    weights, out = tmp_path / "model.safetensors", tmp_path / "m.onnx"
    save_model(lite.pruned(), weights, lite.SPEC)
    words = [str(weights), "--out", str(out), "--check", str(crops), "--camera", "mean", "--gate", "off"]
    if precision != "fp32":
        words += ["--calibration", str(crops)]
    assert guarded(command.main, [*words, *FORMS[precision]]) == 0
    assert read_manifest(out)["precision"] == precision
    newest = extract(sys.executable, out, crops, tmp_path / "newest.npz")
    oldest = extract(python, out, crops, tmp_path / "oldest.npz")
    assert (newest * oldest).sum(1).min() >= LOWEST[precision]


def test_both_wheels_are_promised_from_the_same_version():
    assert promised("cpu", "onnxruntime") == promised("gpu", "onnxruntime-gpu")
