"""What docs/service.md shows can be done: each of its lines runs against a service, and together they use every route."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.fakes.documents import ROOT, blocks
from tests.runtime.service.conftest import pixels

TEXT = (ROOT / "docs/service.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
LINES = [line for block in blocks(TEXT, "sh") for line in block.splitlines() if line.startswith("curl")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the pictures that the page names."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("someone", "another")):
        Image.fromarray(pixels(90 + number)).save(f"{name}.jpg")
    Image.fromarray(np.tile(pixels(92), (10, 10, 1))).save("frame.jpg")
    return tmp_path


def test_every_curl_line_is_served(port: int, folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for line in LINES:
        words = shlex.split(line.replace(ADDRESS, f"http://127.0.0.1:{port}"))
        done = subprocess.run(
            [*words, "--silent", "--show-error", "--fail-with-body"], capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if "/metrics" not in line and "--output" not in line:
            json.loads(done.stdout)


def test_the_lines_use_every_route(port: int) -> None:
    used = set()
    for line in LINES:
        method = (
            match[1]
            if (match := re.search(r"-X (\w+)", line))
            else "POST"
            if re.search(r" -[Fd] ", line)
            else "GET"
        )
        path = re.sub(r"/rows/\d+", "/rows/{id}", re.search(rf"{ADDRESS}(/[^?\s\"]*)", line)[1])
        used.add((method.lower(), path))
    schema = httpx.get(f"http://127.0.0.1:{port}/openapi.json").json()
    assert used == {(method, path) for path, item in schema["paths"].items() for method in item}


def test_the_python_client_finds_someone(port: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(TEXT, "python")
    exec(code.replace(ADDRESS, f"http://127.0.0.1:{port}"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5
