"""Read a finished latency table and check its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.json_files import COUNT, OBJECT, POSITIVE, TEXT, maybe, members, read_document
from runtime.errors import ConfigError
from runtime.options.choices import BACKENDS

ADVICE = "measure one completely with python -m benchmarks.latency_table"
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
    """Return the content of the finished latency table of a CPU backend at `path`. Raises ConfigError for any other file."""
    table: dict[str, Any] = read_document(path, TABLE, expected="a finished latency table", advice=ADVICE)
    if table["engine"] not in BACKENDS:
        raise ConfigError(
            f"{path}: the table was measured with {table['engine']}, but this command needs a table of a CPU backend; to test "
            "this one, time whole models with bench.py on the device where it was measured"
        )
    return table
