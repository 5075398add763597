"""Compare the times of a run of bench.py with those of an earlier, saved run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_files import COUNT, OBJECT, POSITIVE, TEXT, listed, members, read_document
from benchmarks.stats.interval import interval
from runtime.errors import ConfigError

# A document that lacks these members was written by another program, or by an old bench.py that saved no times of rounds.
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
# Members of `host`. If one differs, the times of the two runs are not comparable.
HOST = ("processor", "usable_cores", "device", "threads", "governor")


def read_run(path: Path) -> dict[str, Any]:
    """Return the JSON document that bench.py --json printed into the file `path`. Raises ConfigError for any other file."""
    document: dict[str, Any] = read_document(
        path, RUN, expected="a document of bench.py --json", advice="save one first with bench.py --json"
    )
    return document


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the times of each model, at each batch size and on each backend that both runs have.

    `before` and `after` are documents of bench.py. Returns {models: [{path, engine, batch, ratio, low, high, verdict, same_file}],
    warnings}. `ratio` is the median time before divided by the median time after, and `low` and `high` are its 95 % interval.
    `verdict` is "faster", "slower" or "undecided". `warnings` has a text for each difference between the machines or settings. A model
    is matched by its SHA-256. If no model of the earlier run has this hash, it is matched by its file name, because a file
    that was exported again has another hash; `same_file` is False then. Raises ConfigError if the runs share no model.
    """
    rows = []
    for model in after["models"]:
        if earlier := _match(model, before["models"]):
            times = [np.array(timed["wall_ms"], np.float64) for timed in (earlier, model)]
            comparison = interval(*times, paired=False)
            identity = {key: model[key] for key in ("path", "engine", "batch")}
            rows.append(
                identity
                | asdict(comparison)
                | {"verdict": comparison.verdict, "same_file": earlier["sha256"] == model["sha256"]}
            )
    if not rows:
        raise ConfigError(
            "--compare: the two runs share no model at the same batch size and backend; run bench.py again with a model, a --batch "
            "and a backend of the earlier run"
        )
    different = [key for key in HOST if before["host"].get(key) != after["host"].get(key)]
    warnings = [
        f"--compare: {key} was {before['host'].get(key)}, is {after['host'].get(key)}, so the times of the two runs are not comparable"
        for key in different
    ]
    return {"models": rows, "warnings": warnings}


def _match(model: Mapping[str, Any], others: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the one of `others` that is the same model at the same batch size and backend, or None."""
    setting = (model["batch"], model["engine"])
    same_setting = [other for other in others if (other["batch"], other["engine"]) == setting]
    by_hash = [other for other in same_setting if other["sha256"] == model["sha256"]]
    by_path = [other for other in same_setting if Path(other["path"]).name == Path(model["path"]).name]
    return next(iter(by_hash + by_path), None)
