"""What a wheel and git take from the tree: every module, and no path that .gitignore hides."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("prune", "export", "engines", "runtime", "benchmarks")
# Files of the future that an unanchored pattern would hide.
WELCOME = ("engines/build/x.py", "runtime/runs/x.py", "benchmarks/data/x.py", "data/demo/x.onnx")


def _git(*words: str, text: str = "") -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, input=text, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no git checkout, or git is missing")
    return [path for path in _git("ls-files") if (ROOT / path).exists()]


def test_gitignore_hides_no_path_of_the_tree(tracked):
    assert not _git("check-ignore", "--no-index", "--stdin", text="\n".join([*tracked, *WELCOME]))


@pytest.mark.parametrize(
    "path", ["runs/demo/report.html", "build/lib/x.py", "data/market/x.jpg", "model.onnx"]
)
def test_gitignore_hides_what_is_made_here(tracked, path):
    assert _git("check-ignore", "--no-index", path) == [path]


def test_a_wheel_holds_every_file_of_the_packages(tracked, tmp_path):
    if find_spec("setuptools") is None or find_spec("pip") is None:
        pytest.skip("building a wheel without a network needs setuptools and pip in this environment")
    inside = [path for path in tracked if path.split("/")[0] in PACKAGES]
    for path in [*inside, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]:
        copy = tmp_path / "tree" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy)
    words = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        tmp_path / "tree",
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if name.split("/")[0] in PACKAGES}
    # Results are read in a clone only, by the tables of the documents.
    expected = {path for path in inside if not path.startswith("benchmarks/results/")}
    assert held == expected


def test_no_room_holds_too_much(tracked):
    modules = [Path(path) for path in tracked if path.endswith(".py") and path.split("/")[0] in PACKAGES]
    lines = {path.as_posix(): len((ROOT / path).read_text().splitlines()) for path in modules}
    assert not {path: count for path, count in lines.items() if count > 300}
    rooms = [path.parent for path in modules if path.name != "__init__.py"]
    assert not {room.as_posix(): rooms.count(room) for room in rooms if rooms.count(room) > 15}
