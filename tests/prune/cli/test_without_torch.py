"""Entry points that need torch say so in one line, and with exit code 5, where torch is not installed."""

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
MODULES = sorted(
    f"prune.{path.stem}"
    for path in (ROOT / "prune").glob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)


def test_every_entry_module_of_prune_is_tried():
    commands = {f"prune.{name}" for name in ("convert", "evaluate", "flops", "relabel", "train")}
    assert commands <= set(MODULES)


@pytest.mark.parametrize("entry", [*MODULES, "prune.py", "export_onnx.py"])
def test_without_torch_an_entry_point_ends_with_one_line(entry):
    program = [sys.executable, "-c", WITHOUT_TORCH, entry, "--help"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error[5]") and "not installed" in line and "Traceback" not in done.stdout
