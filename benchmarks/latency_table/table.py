"""Read a finished latency table for other measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.json_files import COUNT, OBJECT, POSITIVE, TEXT, maybe, members, read_document
from runtime.errors import ConfigError
from runtime.options.choices import BACKENDS

ADVICE = "measure one with python -m benchmarks.latency_table, to its end"
TABLE = members(
    {
        "engine": TEXT,
        "batch": COUNT,
        "threads": maybe(COUNT),
        "processor": maybe(TEXT),
        "variant": TEXT,
        "prunable": COUNT,
        "model_ms": POSITIVE,
        "model": members({"shape": OBJECT}),
    }
)


def read_cpu_table(path: Path) -> dict[str, Any]:
    """Return the facts of a finished table of a CPU backend; ConfigError for any other table."""
    found: dict[str, Any] = read_document(path, TABLE, expected="a finished latency table", advice=ADVICE)
    if found["engine"] not in BACKENDS:
        raise ConfigError(
            f"{path}: measured with {found['engine']}, not on a CPU backend; time whole models with bench.py on the device"
        )
    return found
