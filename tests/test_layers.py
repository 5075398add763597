"""The layers inside runtime and benchmarks, no import circle, and who imports a command-line module.

Every import statement counts, also inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("prune", "export", "engines", "runtime", "benchmarks")
# From the bottom to the top: a module imports from its own room and from the lines before its own. Rooms on one line do not
# import each other. `model` stands above `extraction`, because `Model.embed` does for arrays what `extract` does for files;
# `images` stands above `datasets`, because the labels of an image come from the data set around it.
RUNTIME = (
    ("runtime.wording", "runtime.host", "runtime.stopping"),
    ("runtime.errors", "runtime.console"),
    ("runtime.entry",),
    (
        "runtime.options",
        "runtime.files",
        "runtime.spec",
        "runtime.session",
    ),
    ("runtime.backends", "runtime.datasets", "runtime.gate"),
    ("runtime.images", "runtime.video"),
    ("runtime.features",),
    ("runtime.ranking",),
    ("runtime.artifact",),
    ("runtime.checks",),
    ("runtime.opening",),
    ("runtime.extraction", "runtime.backend_timing"),
    ("runtime.model",),
    ("runtime.gallery",),
    ("runtime.identities",),
    ("runtime", "runtime.service"),
    ("runtime.cli",),
    ("runtime.__main__",),
)
# "benchmarks" is what the rooms share: the modules of the folder itself. The latency table stands below what reads it.
BENCHMARKS = (
    ("benchmarks",),
    ("benchmarks.stats",),
    ("benchmarks.device", "benchmarks.people"),
    ("benchmarks.bench",),
    ("benchmarks.latency_table",),
    (
        "benchmarks.study",
        "benchmarks.demo",
        "benchmarks.experiments",
        "benchmarks.gallery",
        "benchmarks.service",
        "benchmarks.identities",
    ),
    ("benchmarks.tables",),
)
Imports = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Name -> file of every module of ours; a package's name stands for its __init__.py."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


def imported(source: str, names: set[str]) -> Iterator[str]:
    """Which of `names` the source imports, anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in names:
                    yield full
                # Python runs a package before what is imported from it.
                if node.module in names:
                    yield node.module


def graph() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    files = modules()
    return {name: set(imported(path.read_text(), set(files))) - {name} for name, path in files.items()}


def layer_of(module: str, layers: tuple[tuple[str, ...], ...]) -> tuple[int, str]:
    """(line, room) of a module: the longest name of the table that it begins with."""
    places = [(index, room) for index, line in enumerate(layers) for room in line]
    return max((p for p in places if f"{module}.".startswith(f"{p[1]}.")), key=lambda place: len(place[1]))


def upward(found: Imports, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    """The imports between modules of one table that do not go downward or stay in their room."""
    package = layers[-1][0].split(".")[0]
    wrong = []
    for module in sorted(found):
        for target in sorted(found[module]):
            if module.split(".")[0] == target.split(".")[0] == package:
                (line, room), (below, other) = layer_of(module, layers), layer_of(target, layers)
                if room != other and below >= line:
                    wrong.append(f"{module} imports {target}")
    return wrong


def circles(found: Imports) -> list[set[str]]:
    """The strongly connected components of more than one module: those that reach each other."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        left = [start]
        while left:
            new = found.get(left.pop(), set()) - seen
            seen |= new
            left += new
        return seen

    reached = {module: reach(module) for module in found}
    groups = {frozenset(o for o in reached[m] if m in reached.get(o, ())) for m in found}
    return [set(group) for group in groups if group]


def commands_imported(found: Imports) -> list[str]:
    """Imports of command-line modules (`cli`, or in a folder `cli`) by others than a `__main__` and commands of such folders.

    The scripts of the root and entry modules such as prune/train.py import none: they name one to `runtime.entry.run_main`.
    """

    def in_folder(module: str) -> bool:
        return "cli" in module.split(".")[:-1]

    return [
        f"{module} imports {target}"
        for module in sorted(found)
        for target in sorted(found[module])
        if "cli" in target.split(".")
        and not (module.endswith(".__main__") or in_folder(module) and in_folder(target))
    ]


def parses(source: str) -> bool:
    """Whether a module imports argparse, or anything from it."""
    return bool(list(imported(source, {"argparse"})))


def changed_arguments(source: str) -> list[str]:
    """What is assigned to an attribute of `args`, which is what every command calls its parsed arguments."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "args"
    ]


@pytest.mark.parametrize("layers", [RUNTIME, BENCHMARKS], ids=["runtime", "benchmarks"])
def test_imports_go_downward(layers):
    assert not upward(graph(), layers)


def test_no_module_imports_itself_in_a_circle():
    assert not circles(graph())


def test_nobody_imports_a_command_line_module():
    assert not commands_imported(graph())


# Outside a folder `cli`: the parser of export_onnx.py, the types of arguments, which raise an
# error of argparse's, an option that several commands share, and the parser of a program with subcommands.
PARSERS = {
    "export.arguments",
    "runtime.options.argument_types",
    "runtime.options.backend_option",
    "runtime.options.subcommands",
}


def test_parsed_arguments_stay_in_command_line_modules_and_as_they_are():
    for module, path in modules().items():
        source = path.read_text()
        if parses(source) and not module.startswith("benchmarks."):
            assert "cli" in module.split(".") or module.endswith(".__main__") or module in PARSERS, module
            assert not changed_arguments(source), module


def test_the_study_and_the_demo_do_not_know_each_other():
    for module, targets in graph().items():
        for room, other in (("study", "demo"), ("demo", "study")):
            if f"{module}.".startswith(f"benchmarks.{room}."):
                assert not [t for t in targets if f"{t}.".startswith(f"benchmarks.{other}.")], module


def test_every_room_is_in_the_table():
    for layers in (RUNTIME, BENCHMARKS):
        package = layers[-1][0].split(".")[0]
        for module in modules():
            if module.split(".")[0] == package and (package == "runtime" or module.count(".") > 1):
                assert layer_of(module, layers)[1] != package or module == package, module


@pytest.mark.parametrize(
    ("module", "target", "layers"),
    [
        ("runtime.errors", "runtime.files.npz", RUNTIME),
        ("runtime.backends.openvino", "runtime.opening", RUNTIME),
        ("runtime.backends.openvino", "runtime.datasets.names", RUNTIME),
        ("runtime.ranking.metrics", "runtime.extraction.extract", RUNTIME),
        ("runtime.model", "runtime.cli.search_command", RUNTIME),
        ("benchmarks.timing", "benchmarks.bench.compare", BENCHMARKS),
        ("benchmarks.device.run", "benchmarks.bench.compare", BENCHMARKS),
        ("benchmarks.study.scores", "benchmarks.demo.page", BENCHMARKS),
        ("benchmarks.study.report", "benchmarks.tables", BENCHMARKS),
    ],
)
def test_a_planted_import_upward_is_caught(module, target, layers):
    assert upward({module: {target}}, layers) == [f"{module} imports {target}"]
    assert not upward({module: {layers[0][0]}}, layers)


def test_planted_circles_and_commands_are_caught():
    lazily = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\ndef f():\n    from b import c\n"
    )
    assert set(imported(lazily, {"a", "b", "b.c"})) == {"a", "b", "b.c"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert commands_imported({"export.graph": {"export.cli"}, "prune.session": {"prune.cli.train"}})
    assert not commands_imported({"engines.__main__": {"engines.cli.build"}})


def test_planted_arguments_are_noticed():
    assert parses("def f():\n    from argparse import Namespace") and not parses("import arg")
    assert changed_arguments("def f(args):\n    args.top = args.x\n    args.y, z = 1, 2") == [
        "args.top",
        "args.y",
    ]
