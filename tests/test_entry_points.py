"""Scripts and modules that people run: a signal stops them while they are imported, and their `--help` imports little."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("runtime", "prune", "export", "engines", "benchmarks")
# These read their job from stdin: they are children of commands, and none themselves.
CHILDREN = {"engines.probe", "engines.python.child"}


def commands() -> dict[str, Path]:
    """Module, or script of the root -> its file, of every command."""
    files = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    return {
        name: path
        for path in sorted(files)
        if (name := name_of(path)) not in CHILDREN and '"__main__"' in path.read_text()
    }


def name_of(path: Path) -> str:
    if path.parent == ROOT:
        return path.name
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")


def run(setup: str, entry: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`python ENTRY WORDS` or `python -m ENTRY WORDS`, in a process where `setup` runs first."""
    program = f"""
import os, runpy, signal, sys
{setup}
sys.argv = {[entry, *words]!r}
runpy.{"run_path" if entry.endswith(".py") else "run_module"}({entry!r}, run_name="__main__")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


def before_the_guard(source: str) -> list[str]:
    """The statements above the line that runs the command inside `guarded`, without docstring and future imports; all, without one."""
    before = []
    for node in ast.parse(source).body:
        text = ast.unparse(node)
        if isinstance(node, ast.If) and "__main__" in text and "SystemExit(run_main(" in text:
            return before
        if not isinstance(node, ast.Expr) and not text.startswith("from __future__"):
            before.append(text)
    return before


def test_the_guard_of_every_command_is_its_first_statement():
    """The rest of it, imports included, runs inside `guarded`."""
    assert {"prune.train", "runtime", "engines", "benchmarks.study", "export_onnx.py"} <= set(commands())
    for name, path in commands().items():
        assert before_the_guard(path.read_text()) in ([], ["from runtime.entry import run_main"]), name


def test_what_stands_before_a_guard_is_noticed():
    guard = "if __name__ == '__main__':\n    raise SystemExit(run_main('a'))\n"
    assert before_the_guard(f"import numpy\n{guard}import torch") == ["import numpy"]
    assert before_the_guard("import numpy\nif __name__ == '__main__':\n    main()")


# The process sends itself SIGTERM as soon as it imports something that is neither Python's own nor the guard's.
STOP_AT_IMPORT = """
guard = {"runtime", "runtime.entry", "runtime.errors", "runtime.stopping", "runtime.wording"}
class Stop:
    def find_spec(self, name, path=None, target=None):
        own = name in guard or f"{ENTRY}.__main__.".startswith(f"{name}.")
        if not own and name.split(".")[0] not in sys.stdlib_module_names:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Stop())
"""


@pytest.mark.parametrize("name", commands())
def test_a_command_can_be_stopped_while_it_is_imported(name):
    done = run(f"ENTRY = {name!r}\n{STOP_AT_IMPORT}", name, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "error[143] stopped\n")


# No library for tensors, graphs or pictures is needed to parse a command line.
HEAVY = {"numpy", "PIL", "cv2", "simplejpeg", "torch", "torchvision", "timm", "safetensors", "accelerate"}
HEAVY |= {
    "onnx",
    "onnxscript",
    "onnxslim",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "pycuda",
}
# It says what was asked for, also where the importer can do without.
BLOCK = """
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            print("IMPORTED", name, file=sys.stderr)
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)
sys.meta_path.insert(0, Block())
"""
SUBCOMMANDS = {
    "engines": ("build", "verify", "doctor"),
    "runtime": ("inspect", "extract", "evaluate", "search", "choose", "gallery", "calibrate", "serve"),
}
# tests/benchmarks/test_commands.py tries the commands of benchmarks
LINES = [
    [name, *subcommand]
    for name in commands()
    if name != "bench.py" and not name.startswith("benchmarks.")
    for subcommand in ([], *([one] for one in SUBCOMMANDS.get(name, ())))
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_help_imports_nothing_heavy(words):
    done = run(f"HEAVY = {HEAVY!r}\n{BLOCK}", *words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


def test_an_import_that_is_needed_is_noticed():
    done = run(
        f"HEAVY = {HEAVY!r}\n{BLOCK}", "prune.flops", "--config", "configs/prune/market_base_h25_t25.yaml"
    )
    assert done.returncode == 5 and "IMPORTED torch" in done.stderr
