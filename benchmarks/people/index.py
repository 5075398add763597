"""Read the index of a rendered data set, anny.json, which describes each of its images. Renders nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.json_files import COUNT, NUMBER, PART, TEXT, Schema, listed, mapping, members, read_document
from runtime.errors import ConfigError, UserError

NAME = "anny.json"
IMAGE = members({"pid": NUMBER, "visible": PART}, {"camid": NUMBER, "twin": TEXT, "sha256": TEXT})
INDEX = members({"size": listed(COUNT, least=2, most=2), "images": mapping(IMAGE)})


def read_index(
    root: Path, *, advice: str, refusal: type[UserError] = ConfigError, schema: Schema = INDEX
) -> dict[str, Any]:
    """Return the anny.json of the set at `root`; raises `refusal`, with `advice`, if there is none or it is damaged."""
    expected = "the index of a rendered set"
    index: dict[str, Any] = read_document(
        root / NAME, schema, expected=expected, advice=advice, refusal=refusal
    )
    return index
