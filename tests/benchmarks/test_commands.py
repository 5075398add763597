"""Every command of benchmarks parses at once into frozen options, and shows its help without a heavy library."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "timm", "numpy", "PIL", "onnxruntime", "jsonschema")
# `python -m NAME`, or a script of the root.
ENTRIES = ["bench.py"] + sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in (ROOT / "benchmarks").rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)
# Runs an entry with --help where the heavy libraries cannot be found.
HELP = """
import runpy, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Block())
entry, sys.argv = ENTRY, [ENTRY, "--help"]
if entry.endswith(".py"):
    runpy.run_path(entry, run_name="__main__")
else:
    runpy.run_module(entry, run_name="__main__")
"""


def main_module(entry: str):
    """The module whose `main` an entry runs."""
    path = ROOT / entry if entry.endswith(".py") else ROOT.joinpath(*entry.split("."))
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    (name,) = re.findall(r'run_main\("([\w.]+)"\)', path.read_text())
    return importlib.import_module(name)


def parsers(module) -> list[str]:
    """The functions that call `parse_args`, in the module that holds the command's `parse`."""
    source = inspect.getsource(inspect.getmodule(module.parse))
    return [
        function.name
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(node, ast.Attribute) and node.attr == "parse_args" for node in ast.walk(function))
    ]


def test_every_room_with_a_command_is_tried():
    rooms = {entry.split(".")[1] for entry in ENTRIES[1:]}
    assert {"bench", "demo", "experiments", "latency_table", "people", "study", "tables"} <= rooms


@pytest.mark.parametrize("entry", ENTRIES)
def test_help_needs_no_heavy_library(entry):
    code = HELP.replace("BLOCKED", repr(set(HEAVY))).replace("ENTRY", repr(entry))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:") and not done.stderr


@pytest.mark.parametrize("entry", ENTRIES)
def test_parsed_arguments_become_frozen_options_at_once(entry):
    module = main_module(entry)
    kinds = typing.get_type_hints(module.parse)["return"]
    for kind in typing.get_args(kinds) or (kinds,):
        assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen, kind
        assert kind.__name__.endswith("Options")
    assert parsers(module) == ["parse"]


def test_nothing_else_takes_parsed_arguments():
    takers = {
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in (ROOT / "benchmarks").rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        and any(
            "Namespace" in ast.unparse(argument.annotation)
            for argument in (*function.args.args, *function.args.kwonlyargs)
            if argument.annotation is not None
        )
    }
    # it turns the models of a command line into candidates
    assert takers == {"benchmarks/bench/arguments.py: _candidates"}


def test_a_help_that_needs_numpy_would_be_found(tmp_path):
    (tmp_path / "planted.py").write_text("import numpy\nprint('usage:')\n")
    code = HELP.replace("BLOCKED", repr(set(HEAVY))).replace("ENTRY", repr("planted.py"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "numpy is blocked" in done.stderr
