"""Commands parse at once into frozen options: parsed arguments go no further, and nobody can change the options."""

import dataclasses
import importlib
import inspect
from argparse import Namespace
from pathlib import Path

import pytest

from runtime.__main__ import COMMANDS

FOLDER = Path(__file__).resolve().parents[3] / "runtime" / "cli"
MODULES = [importlib.import_module(f"runtime.cli.{path.stem}") for path in sorted(FOLDER.glob("[a-z]*.py"))]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_options_are_frozen_and_only_parsing_functions_take_parsed_arguments(module):
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    for kind in filter(dataclasses.is_dataclass, own):
        assert kind.__dataclass_params__.frozen, kind
    takers = [
        function
        for function in filter(inspect.isfunction, own)
        if "Namespace" in map(str, function.__annotations__.values())
    ]
    for function in takers:
        result = str(function.__annotations__["return"])
        assert function.__name__ == "command" or result.split(" ")[0].endswith(("Options", "Evaluation"))


def test_every_command_turns_parsed_arguments_into_options():
    for module in COMMANDS.values():
        (parameter,) = inspect.signature(module.command).parameters.values()
        assert parameter.annotation == Namespace.__name__
