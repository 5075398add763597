"""Run all trials of a study, those of AMG before those that need its cost, and write the result. Parses no command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.study.context import study_fingerprint
from benchmarks.study.files import RECORD, SCHEMA, read_records
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import Trial
from benchmarks.study.results import summarise
from benchmarks.study.trials import Job
from benchmarks.study.waves import LABEL, run_wave
from runtime.console import note
from runtime.files.manifest import host, replacing, tools


def run_study(
    options: StudyOptions, waves: tuple[list[Trial], list[Trial]], processes: int
) -> dict[str, Any]:
    """Run the unfinished trials of a study, `processes` at a time, and return the result of all finished trials.

    `waves` are two lists of trials, of which the second is started when the first is finished. The result is also written to the file
    result.json in the folder `options.out`.
    """
    fingerprint = study_fingerprint(options)
    for wave in waves:
        run_wave([Job(options, trial, fingerprint) for trial in wave], processes)
    result = gather(Path(options.out), fingerprint)
    path = Path(options.out) / "result.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    note(f"wrote {path}")
    return result


def gather(out: Path, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Return the content of result.json, from all finished trials in the folder `out` whose study has this `fingerprint`."""
    records = read_records(out, fingerprint, RECORD)
    seconds = sum(record["seconds"] for record in records)
    return {
        "schema": SCHEMA,
        "kind": "study",
        "label": LABEL,
        "asked": fingerprint,
        "scoring_loss": records[0]["scoring_loss"],
        "cells": len(records),
        "cell_seconds": round(seconds / len(records), 1),
        "host": host(),
        "tools": tools("torch", "numpy", "timm"),
    } | summarise(records)
