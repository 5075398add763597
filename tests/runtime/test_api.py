"""The public names of `runtime`: which they are, that they load nothing early, and that the commands call them and nothing beneath."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import ArtifactError, ConfigError, Features, evaluate, search
from runtime.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    "ArtifactError",
    "BackendChoice",
    "BackendResult",
    "BackendTiming",
    "ConfigError",
    "DataError",
    "DatasetSummary",
    "DeviceError",
    "Event",
    "FalseMatches",
    "Features",
    "Gallery",
    "GalleryHit",
    "GateError",
    "Hit",
    "Identities",
    "IdentityOptions",
    "Metrics",
    "Model",
    "NonFiniteFeatures",
    "OutOfMemory",
    "SplitCounts",
    "StorageError",
    "TooManyBad",
    "Track",
    "TrackCollector",
    "Unfinished",
    "UserError",
    "choose_backend",
    "evaluate",
    "inspect_dataset",
    "load_features",
    "open_gallery",
    "open_model",
    "save_features",
    "search",
    "tracks_of",
]


def test_the_public_names_are_these_and_every_one_is_there():
    assert sorted(runtime.__all__) == PUBLIC
    assert all(getattr(runtime, name) is not None for name in runtime.__all__)
    with pytest.raises(AttributeError):
        _ = runtime.no_such_name


def test_type_checkers_see_the_names_in_their_homes():
    (block,) = [
        node for node in ast.parse(Path(runtime.__file__).read_text()).body if isinstance(node, ast.If)
    ]
    typed = {name.asname: node.module for node in block.body for name in node.names}
    assert typed == runtime._HOME_OF


def test_no_module_is_called_like_an_exported_function():
    modules = {path.stem for path in (ROOT / "runtime").rglob("*.py")}
    functions = {name for name in PUBLIC if inspect.isfunction(getattr(runtime, name))}
    assert {
        "open_model",
        "evaluate",
        "search",
        "choose_backend",
        "inspect_dataset",
    } <= functions and not functions & modules


def test_importing_loads_no_numpy_and_no_pillow():
    assert not libraries_loaded_by("import runtime")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_loads_no_numpy_and_no_pillow(command):
    line = f"import runtime.__main__ as m; m.main({[*command, '--help']})"
    assert not libraries_loaded_by(line)


def libraries_loaded_by(line: str) -> list[str]:
    """Which of numpy and Pillow are in memory after a new process ran `line`."""
    program = f"import sys\ntry:\n {line}\nexcept SystemExit as stop:\n assert not stop.code\n"
    program += "print(*sorted({'numpy', 'PIL'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.split()


# What a command leaves to the public API: opening and running models, and ranking.
BENEATH = (
    *(
        "artifact",
        "backend_timing",
        "backends",
        "checks",
        "extraction",
        "gate",
        "library",
        "model",
        "opening",
        "session",
        "spec",
    ),
    *("datasets.counts", "datasets.published", "datasets.summary"),
    *("ranking.api", "ranking.metrics", "ranking.nearest", "ranking.rerank"),
)


def reaches(source: str) -> set[str]:
    """The modules beneath the public API that a source imports, anywhere in it and not only for its types."""
    tree = ast.parse(source)
    typing = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    for node in typing:
        node.body = []
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    ]
    names += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    return {room for room in BENEATH for name in names if f"{name}.".startswith(f"runtime.{room}.")}


def test_commands_call_the_public_api_and_nothing_beneath_it():
    files = {path.stem: reaches(path.read_text()) for path in (ROOT / "runtime/cli").glob("*.py")}
    assert len(files) > len(COMMANDS) and not {name for name, beneath in files.items() if beneath}


@pytest.mark.parametrize(
    "line",
    [
        "from runtime.opening import open_artifact",
        "import runtime.model",
        "from runtime import session",
        "from runtime.datasets import counts",
    ],
)
def test_a_command_that_reaches_beneath_is_found(line):
    assert reaches(f"def run():\n    {line}\n")
    assert not reaches("from runtime import Model, open_model\nfrom runtime.features import duplicates\n")


def features_of(rows, pids, camids, model="a" * 64) -> Features:
    values = np.asarray(rows, np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    paths = tuple(f"{number}.jpg" for number in range(len(pids)))
    return Features(values, paths, np.asarray(pids), np.asarray(camids), model)


def test_evaluate_and_search_rank_features_by_cosine_distance():
    query = features_of([[1, 0]], [1], [0])
    gallery = features_of([[0, 1], [1, 0.1], [1, 0]], [1, 1, 2], [1, 1, 1])
    # ranked: person 2, person 1, person 1: precisions 1/2 and 2/3
    assert evaluate(query, gallery).mAP == pytest.approx((1 / 2 + 2 / 3) / 2)
    hits = search(query, gallery, top=2)
    assert [(hit.query, hit.rank, hit.row, hit.pid) for hit in hits] == [(0, 1, 2, 2), (0, 2, 1, 1)]
    assert hits[1].distance == pytest.approx(1 - 1 / np.sqrt(1.01), abs=1e-6)


def test_features_of_two_models_and_a_useless_top_are_refused():
    query = features_of([[1, 0]], [1], [0])
    other = features_of([[1, 0]], [1], [1], model="b" * 64)
    with pytest.raises(ArtifactError):
        search(query, other, top=1)
    with pytest.raises(ArtifactError):
        evaluate(query, other)
    with pytest.raises(ConfigError, match="top"):
        search(query, query, top=0)
