"""Run the project's commands in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.__main__ import main
from runtime.entry import guarded

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m runtime` with some words and return (exit code, JSON document on stdout or None, stderr)."""

    def call(*words: object) -> tuple[int, Any, str]:
        code = guarded(main, [str(word) for word in words])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return call
