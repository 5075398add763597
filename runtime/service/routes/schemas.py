"""The documents of the routes, for the OpenAPI schema and the checks of what comes in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from runtime.service.forms import DEFAULT_TOP, MOST_CAMERA, MOST_ID, MOST_NAME, NAME_PATTERN
from runtime.service.settings import Limits

Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME, pattern=NAME_PATTERN)]
# In JSON, 1.0 is an integer as well.
Camera = Annotated[
    int,
    Field(ge=0, le=MOST_CAMERA, strict=True),
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]
# How a time is described: ISO 8601 with a time zone, or a date.
TIME: dict[str, Any] = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]
}
Time = Annotated[str, Field(min_length=4, max_length=40), WithJsonSchema(TIME)]


class Row(BaseModel):
    """A stored row. `time` is in ISO 8601 (UTC), and `source` is the name of the file."""

    id: int
    person: str | None
    camera: int | None
    time: str | None
    track: int | str | None
    source: str


class Rows(BaseModel):
    """Some rows; `next` is the `after_id` of the following ones."""

    rows: list[Row]
    next: int | None


class AddedRow(BaseModel):
    """A row, and whether it is new."""

    row: Row
    added: bool


class AddedRows(BaseModel):
    """One entry for each person of the pictures."""

    rows: list[AddedRow]


class Hit(BaseModel):
    """A row near the person who is sought. `similarity` is a cosine; the other numbers need a calibrated threshold.

    `false_match_rate` is the share of the searches for people who are not in the gallery that return somebody at this similarity or
    above, with its 95 % upper `bound`; `probability` is that of the right person, if half of all people are in the gallery.
    """

    row: Row
    similarity: float
    accepted: bool | None
    false_match_rate: float | None
    bound: float | None
    probability: float | None


class SearchResult(BaseModel):
    """The hits by falling similarity. `searched` of all `rows` fitted the filters."""

    searched: int
    rows: int
    hits: list[Hit]
    note: str | None


class Features(BaseModel):
    """Features of unit length."""

    dimension: int
    features: list[list[float]]


class Deleted(BaseModel):
    """How many rows were deleted."""

    deleted: int


class Change(BaseModel):
    """Who a row shows; null for unknown."""

    model_config = ConfigDict(extra="forbid")
    person: Name | None


class Deletion(BaseModel):
    """What to delete: exactly one of the fields."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1, "maxProperties": 1})
    person: Name = None  # type: ignore[assignment]
    camera: Camera = None  # type: ignore[assignment]
    before: Time = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _one(self) -> Deletion:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of person, camera and before")
        return self


class CameraRows(BaseModel):
    """The rows of a camera."""

    camera: int
    rows: int


class ModelInfo(BaseModel):
    """The model: its input in pixels, and the numbers in a feature."""

    name: str
    width: int
    height: int
    dimension: int


class Site(BaseModel):
    """The calibration of cameras."""

    id: int
    cameras: list[int]


class Threshold(BaseModel):
    """A calibrated threshold; a point of the `curve` is similarity, false-match rate and its upper bound."""

    id: int
    similarity: float
    false_match_rate: float
    bound: float
    enrolled: int
    curve: list[tuple[float, float, float]]


class Calibration(BaseModel):
    """The calibrations that a search applies."""

    site: Site | None
    threshold: Threshold | None


class RequestLimits(BaseModel):
    """The most bytes of a picture, pictures of a request, and hits of a search."""

    bytes: int
    images: int
    top: int


class Info(BaseModel):
    """What the gallery holds, and what the service takes. Another gallery or model has another text in `gallery`."""

    gallery: str
    rows: int
    people: int
    cameras: list[CameraRows]
    first: str | None
    last: str | None
    model: ModelInfo
    calibration: Calibration
    limits: RequestLimits
    writable: bool
    thumbnails: bool


def _several(item: dict[str, Any], most: int, **more: str) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": most, "items": item, **more}


_LIMITS = Limits()
_FILE = {"type": "string", "format": "binary"}
_BOX = {
    "type": "string",
    "description": "x1,y1,x2,y2 in pixels of the upright picture, or empty for the whole picture",
}
_ID = {"type": "integer", "minimum": 1, "maximum": MOST_ID}
_CAMERA = {"type": "integer", "minimum": 0, "maximum": MOST_CAMERA}
_TEXT = {"type": "string", "maxLength": MOST_NAME, "pattern": NAME_PATTERN}
SEARCH_FORM = {
    "image": _several(_FILE, _LIMITS.images),
    "box": _several(
        _BOX,
        _LIMITS.images,
        description="The n-th box belongs to the n-th picture. More boxes than pictures are refused.",
    ),
    "row": _several(_ID, _LIMITS.images),
    "camera": _several(_CAMERA, 64),
    "after": TIME,
    "before": TIME,
    "top": {"type": "integer", "minimum": 1, "maximum": _LIMITS.top, "default": DEFAULT_TOP},
    "threshold": {"type": "number", "minimum": -1, "maximum": 1},
    "exclude": _several(_ID, 200),
}
EMBED_FORM = {
    "image": _several(_FILE, _LIMITS.images),
    "box": _several(
        _BOX,
        _LIMITS.boxes,
        description="One picture may have several boxes, one for each person. With several pictures, the n-th box belongs to the n-th "
        "picture, and more boxes than pictures are refused.",
    ),
}
ADD_FORM = EMBED_FORM | {"person": _TEXT, "camera": _CAMERA, "time": TIME, "track": _TEXT}


def form(fields: dict[str, Any], *needed: str) -> dict[str, Any]:
    """Return the part of the OpenAPI schema that describes a form with these fields, of which one of the `needed` must be there."""
    schema: dict[str, Any] = {"type": "object", "properties": fields, "additionalProperties": False}
    if len(needed) == 1:
        schema["required"] = list(needed)
    else:
        schema["anyOf"] = [{"required": [name]} for name in needed]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
