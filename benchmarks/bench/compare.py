"""How sure a ratio of times is, and this run against a saved one. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_files import COUNT, OBJECT, POSITIVE, TEXT, listed, members, read_document
from benchmarks.stats.interval import interval
from runtime.errors import ConfigError

# A document without these was not written by bench.py, or by one that kept no rounds.
TIMED = members(
    {
        "path": TEXT,
        "sha256": TEXT,
        "engine": TEXT,
        "batch": COUNT,
        "wall_ms": listed(POSITIVE, least=1),
    }
)
RUN = members({"host": OBJECT, "models": listed(TIMED, least=1)})
# What makes two machines, or two uses of one, incomparable.
HOST = ("processor", "usable_cores", "device", "threads", "governor")


def read_run(path: Path) -> dict[str, Any]:
    """A document that bench.py --json printed; ConfigError for anything else."""
    found: dict[str, Any] = read_document(
        path, RUN, expected="a document of bench.py --json for --compare", advice="make one first"
    )
    return found


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """{models: [{path, engine, batch, ratio, low, high, verdict}], warnings}: every model and batch that both runs have.

    The same model by its hash, or by its path where it was made anew. ConfigError when the runs share none.
    """
    rows = []
    for model in after["models"]:
        if found := _match(model, before["models"]):
            times = [np.array(one["wall_ms"], np.float64) for one in (found, model)]
            sure = interval(*times, paired=False)
            about = {key: model[key] for key in ("path", "engine", "batch")}
            rows.append(
                about
                | asdict(sure)
                | {"verdict": sure.verdict, "same_file": found["sha256"] == model["sha256"]}
            )
    if not rows:
        raise ConfigError(
            "--compare: the two runs share no model at the same batch and engine; compare what both measured"
        )
    different = [key for key in HOST if before["host"].get(key) != after["host"].get(key)]
    warnings = [
        f"not the same machine or use: {key} was {before['host'].get(key)}, is {after['host'].get(key)}"
        for key in different
    ]
    return {"models": rows, "warnings": warnings}


def _match(model: Mapping[str, Any], others: list[dict[str, Any]]) -> dict[str, Any] | None:
    same = [one for one in others if (one["batch"], one["engine"]) == (model["batch"], model["engine"])]
    by_hash = [one for one in same if one["sha256"] == model["sha256"]]
    by_path = [one for one in same if Path(one["path"]).name == Path(model["path"]).name]
    return next(iter(by_hash + by_path), None)
