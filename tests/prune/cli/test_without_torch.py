"""Commands that need torch say so in one line, and with exit code 5, where torch is not installed; `--help` needs none."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = """
import runpy, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "safetensors", "accelerate"}:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Block())
entry, sys.argv = sys.argv[1], sys.argv[1:]
if entry.endswith(".py"):
    runpy.run_path(entry, run_name="__main__")
else:
    runpy.run_module(entry, run_name="__main__")
"""
CONFIG = ["--config", "configs/prune/market_base_h25_t25.yaml"]
DATA = ["--data", "data/anny_reid"]
# what each command takes at least; nothing is read or written before the libraries are there
WORDS = {
    "prune.convert": ["no.pth", *CONFIG, "--out", "no.safetensors"],
    "prune.evaluate": ["no.safetensors", *DATA],
    "prune.fit_stem": [*CONFIG, *DATA, "--init", "no.pth", "--out", "no.safetensors"],
    "prune.flops": CONFIG,
    "prune.relabel": ["no.safetensors", *DATA, "--out", "other.safetensors"],
    "prune.train": [*CONFIG, "--out", "no"],
    "prune.py": [*CONFIG, "--weights", "no.safetensors", "--out", "no"],
    "export_onnx.py": ["no.safetensors", "--out", "no.onnx"],
}


def test_every_entry_of_prune_is_tried():
    modules = {
        f"prune.{path.stem}"
        for path in (ROOT / "prune").glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert modules and modules <= set(WORDS)


@pytest.mark.parametrize("entry", WORDS)
def test_without_torch_a_command_ends_with_one_line(entry):
    program = [sys.executable, "-c", WITHOUT_TORCH, entry, *WORDS[entry]]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error[5]") and "not installed" in line and "Traceback" not in done.stdout
