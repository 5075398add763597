"""The JSON files of a study: the paths, schemas and readers of the trials' records and of the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.json_files import (
    NUMBER,
    OBJECT,
    PART,
    TEXT,
    YES_NO,
    Schema,
    listed,
    mapping,
    maybe,
    members,
    read_document,
)
from benchmarks.study.plan import Trial

SCHEMA = 1

ASKED = members({"asked": OBJECT})
SCORES = members({"mAP": PART, "R1": PART})
# The members of every record, also in the comparison beyond AMG.
COMMON_MEMBERS = {
    "method": TEXT,
    "level": TEXT,
    "seed": {"type": "integer", "minimum": 0},
    "asked": OBJECT,
    "macs": members({"macs_folded": NUMBER}),
    "heads": listed(NUMBER),
    "tokens": listed(NUMBER),
    "seconds": NUMBER,
}
PRUNED = {"budget": members({"reached": YES_NO})}
BIN = members({"low": NUMBER, "high": NUMBER, "queries": NUMBER, "mAP": PART, "R1": PART})
SIDE = {"mAP": PART, "R1": PART, "precisions": listed(PART, least=1)}
PERSON = members({"all": PART, "kept": listed(PART), "person_kept": listed(PART)})
RECORD = members(
    {
        **COMMON_MEMBERS,
        "scoring_loss": TEXT,
        "visible": listed(PART, least=1),
        "scores": members(
            {
                "query": members({**SIDE, "visible": listed(BIN)}),
                "twins": members(SIDE),
                "others": mapping(mapping(members({"mAP": PART, "R1": PART, "queries": NUMBER}))),
                "person": mapping(PERSON),
            }
        ),
    },
    {**PRUNED, "untuned": SCORES},
)

SPREAD = members({"mean": NUMBER, "sd": maybe(NUMBER), "values": listed(NUMBER, least=1)})
SPREADS = members({"mAP": SPREAD, "R1": SPREAD})
GROUP = members(
    {
        "method": TEXT,
        "level": TEXT,
        "seeds": listed(NUMBER, least=1),
        "macs_folded": SPREAD,
        "equal_budget": YES_NO,
        "query": SPREADS,
        "twins": SPREADS,
        "untuned": members({}, {"mAP": SPREAD, "R1": SPREAD}),
        "others": mapping(mapping(SPREADS)),
        "person": mapping(members({"all": PART, "kept": listed(PART, least=1)})),
    }
)
SEPARATION = members({"difference": NUMBER, "pooled_sd": maybe(NUMBER), "separated": maybe(YES_NO)})
LOSS = members(
    {
        "query": NUMBER,
        "twins": NUMBER,
        "more": members({"mean": NUMBER, "error": maybe(NUMBER)}),
        "slope": maybe(NUMBER),
        "error": maybe(NUMBER),
        "grows": maybe(YES_NO),
    }
)
RESULT = members(
    {
        "schema": {"const": SCHEMA},
        "kind": {"const": "study"},
        "label": TEXT,
        "groups": listed(GROUP, least=1),
        "verdicts": members(
            {
                "separation": mapping(mapping(SEPARATION)),
                "cost": mapping(members({"difference": NUMBER, "within": YES_NO})),
            }
        ),
        "occlusion": mapping(mapping(mapping(LOSS))),
    }
)


def trial_path(out: Path, trial: Trial) -> Path:
    """Return the path of the JSON file that `trial` writes when it is finished. `out` is the folder of the study."""
    return out / "cells" / f"{trial.name}.json"


def read_record(path: Path, schema: Schema) -> dict[str, Any]:
    """Return the record of a finished trial from the JSON file at `path`. Raises ConfigError if the file does not fit `schema`."""
    advice = "remove the file, and run the command that made it again"
    record: dict[str, Any] = read_document(
        path, schema, expected="the record of a finished trial", advice=advice
    )
    return record


def read_records(out: Path, fingerprint: dict[str, Any], schema: Schema) -> list[dict[str, Any]]:
    """Return the records of all finished trials of one study in the folder `out`, in the order of their file names.

    Only records with the given `fingerprint` belong to the study (see `study_fingerprint`). Raises ConfigError for a record that does
    not fit `schema`.
    """
    paths = sorted((out / "cells").glob("*.json"))
    matching = [path for path in paths if read_record(path, ASKED)["asked"] == fingerprint]
    return [read_record(path, schema) for path in matching]


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of a study's result.json. Raises ConfigError for any other file."""
    result: dict[str, Any] = read_document(
        path,
        RESULT,
        expected="the result.json of a study",
        advice="make one: run python -m benchmarks.study with --out",
    )
    return result
