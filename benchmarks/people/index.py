"""Read the file anny.json of a rendered data set, which describes each of its images. Renders nothing."""

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
    """Return the content of the anny.json in the folder `root`.

    If the file is missing or does not fit `schema`, an error of the type `refusal` is raised, whose message ends with `advice`.
    """
    expected = "the index of a rendered data set"
    index: dict[str, Any] = read_document(
        root / NAME, schema, expected=expected, advice=advice, refusal=refusal
    )
    return index
