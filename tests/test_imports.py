"""Who imports whom, held to the table of the design, and proof that a device needs no torch."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"prune", "export", "engines", "runtime", "benchmarks"}
TORCH = {"torch", "torchvision", "timm"}
GPU = {"tensorrt", "tensorrt_rtx", "cuda", "pycuda", "cupy"}
# Package -> our packages it may import anywhere.
# The torch baseline of benchmarks reaches prune inside a function.
MAY_IMPORT = {
    "runtime": set(),
    "engines": {"runtime"},
    "prune": {"runtime"},
    "export": {"runtime", "prune"},
    "benchmarks": {"runtime", "engines"},
}
MAY_IMPORT_LAZILY = {"benchmarks": {"prune"}}
NEVER = {"runtime": TORCH, "engines": TORCH, "prune": GPU, "export": GPU, "benchmarks": GPU}
RUNTIME_NEEDS = {"numpy", "PIL", "rich"}
# One file per heavy library, which imports it at its top; everybody else reaches that file lazily.
# What only a GPU machine has is imported inside functions there too: the same code chooses between them.
HEAVY_FILES = {
    "runtime/backends/onnxruntime.py": {"onnxruntime"},
    "runtime/backends/openvino.py": {"openvino"},
    "runtime/backends/tensorrt/session.py": {"tensorrt", "tensorrt_rtx"},
    "runtime/backends/tensorrt/cuda.py": {"cuda", "pycuda"},
    # What a device may do without is imported inside functions of its file.
    "runtime/images/jpeg.py": {"simplejpeg"},
    "runtime/gallery/lookup/faiss.py": {"faiss"},
    "runtime/video/av.py": {"av"},
    "runtime/extraction/ray_cluster.py": {"ray"},
    "runtime/gallery/postgres/driver.py": {"psycopg"},
    **{
        path.relative_to(ROOT).as_posix(): {
            "fastapi",
            "starlette",
            "pydantic",
            "uvicorn",
            "h11",
            "prometheus_client",
        }
        for path in (ROOT / "runtime/service").rglob("*.py")
    },
    # The parametric body model of the picture generator runs on torch; nothing on a device draws people.
    "benchmarks/people/person/body.py": {"anny", "torch"},
}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(top-level package, whether the import runs when the module is imported) of every import statement."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((name.name.split(".")[0], at_import) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield ("." if child.level else str(child.module).split(".")[0]), at_import
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, at_import and not inside)

    return walk(tree, True)


def violations(package: str, file: str, source: str) -> list[str]:
    """What the table forbids among the imports of one file, in words."""
    forbidden = []
    for name, at_import in imports(ast.parse(source)):
        allowed = {package} | MAY_IMPORT[package]
        lazily = set() if at_import else MAY_IMPORT_LAZILY.get(package, set())
        if name == ".":
            forbidden.append(f"{file}: relative import; name the package")
        elif name in OURS and name not in allowed | lazily:
            forbidden.append(f"{file}: {package} must not import {name}")
        elif name in NEVER[package]:
            forbidden.append(f"{file}: {package} must not import {name}")
        elif name in HEAVY_FILES.get(file, set()) and not (at_import and name in GPU):
            continue
        elif package == "runtime" and name not in sys.stdlib_module_names | RUNTIME_NEEDS | OURS:
            forbidden.append(f"{file}: only a session file of its own may import {name}")
        elif package == "benchmarks" and at_import and name in TORCH:
            forbidden.append(f"{file}: {name} belongs inside the function that needs it")
    return forbidden


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_import_is_in_the_table(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    forbidden = []
    for path in files:
        forbidden += violations(package, path.relative_to(ROOT).as_posix(), path.read_text())
    assert not forbidden, "\n".join(forbidden)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("runtime", "import engines.build"),
        ("runtime", "def f():\n    import torch"),
        ("runtime", "import onnxruntime"),
        ("runtime", "def f():\n    import openvino"),
        ("runtime", "from . import spec"),
        ("engines", "class A:\n    def f(self):\n        from torchvision import ops"),
        ("prune", "def f():\n    import tensorrt"),
        ("prune", "from export import graph"),
        ("export", "from engines import build"),
        ("benchmarks", "from prune import model"),
        ("benchmarks", "try:\n    import torch\nexcept ImportError:\n    torch = None"),
    ],
)
def test_a_planted_import_is_caught(package: str, source: str) -> None:
    assert violations(package, f"{package}/planted.py", source)


@pytest.mark.parametrize(
    "source", ["import tensorrt", "try:\n    import tensorrt_rtx\nexcept OSError:\n    pass"]
)
def test_tensorrt_is_imported_inside_functions_of_its_file_only(source: str) -> None:
    assert violations("runtime", "runtime/backends/tensorrt/session.py", source)
    assert not violations(
        "runtime", "runtime/backends/tensorrt/session.py", "def f():\n    import tensorrt_rtx"
    )
    assert violations("runtime", "runtime/backends/tensorrt/cuda.py", "def f():\n    import tensorrt_rtx")


def test_the_torch_baseline_may_import_prune_inside_a_function() -> None:
    assert not violations(
        "benchmarks", "benchmarks/baseline.py", "def time_torch():\n    from prune import model"
    )


BLOCKED_IMPORT = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Block())
for name in MODULES:
    importlib.import_module(name)
loaded = BLOCKED & {name.split(".")[0] for name in sys.modules}
assert not loaded, loaded
"""


def test_device_packages_import_without_torch_tensorrt_and_cuda() -> None:
    blocked = TORCH | GPU | {"anny"}
    modules = [
        module.name
        for package in ("runtime", "engines", "benchmarks")
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
        # A __main__ is a script; the heavy files are named after what they need.
        if not module.name.endswith("__main__")
        and not HEAVY_FILES.get(_file(module.name), set()) & (blocked - GPU)
    ]
    assert {"runtime.opening", "runtime.backends.tensorrt.cuda", "runtime.backends.tensorrt.session"} <= set(
        modules
    )
    code = f"BLOCKED = {blocked!r}\nMODULES = {modules!r}\n{BLOCKED_IMPORT}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def _file(module: str) -> str:
    return module.replace(".", "/") + ".py"
