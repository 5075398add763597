"""Read the multipart form of a request with pictures, within the limits, and check its fields."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from runtime.errors import ConfigError
from runtime.gallery.lookup.filters import Filters
from runtime.gallery.times import microseconds
from runtime.service.pictures import WHOLE, Box, Picture, file_name
from runtime.service.problems import Refused
from runtime.service.settings import Limits

# The largest id of a row, and the largest number of a camera.
MOST_ID, MOST_CAMERA = (1 << 63) - 1, (1 << 31) - 1
# The most characters of a person's name or a track, and what they consist of: no control characters, and none that change the
# direction of the text around them.
MOST_NAME = 200
# How many hits a search returns unless it asks for another number.
DEFAULT_TOP = 50
NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+$"


@dataclass(frozen=True)
class SearchForm:
    """What a search asks for: pictures and stored rows of one person, and which rows to find.

    `threshold` is the lowest similarity of a hit (None: any), and `exclude` are rows that are no hits.
    """

    pictures: tuple[Picture, ...]
    rows: tuple[int, ...]
    filters: Filters
    top: int
    threshold: float | None
    exclude: frozenset[int]


@dataclass(frozen=True)
class AddForm:
    """Pictures to store, and the labels of all of them; None for unknown."""

    pictures: tuple[Picture, ...]
    person: str | None
    camera: int | None
    time_us: int | None
    track: str | None


class _Parser(MultiPartParser):
    """Keeps the pictures in memory: the size of a request is limited, and no copy of a picture reaches the disk."""

    spool_max_size = 1 << 40


async def read_form(request: Request, limits: Limits, allowed: Sequence[str]) -> Form:
    """Return the form of a request. Raises Refused for one that is no form, too large, or has a field that is not `allowed`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refused(415, "Send a form: multipart/form-data with the pictures as files named image.")
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=limits.images,
        max_fields=limits.fields,
        max_part_size=limits.field,
    )
    try:
        data = await parser.parse()
    except MultiPartException as error:
        status = 413 if "maximum size" in error.message else 422 if "Maximum number" in error.message else 400
        raise Refused(status, f"form: {error.message}") from None
    if unknown := sorted(set(data) - set(allowed)):
        raise Refused(422, f"unknown field {unknown[0]!r:.40}; the fields are {', '.join(allowed)}")
    return Form(data, limits)


class Form:
    """The fields of a form."""

    def __init__(self, data: FormData, limits: Limits) -> None:
        self._data, self._limits = data, limits

    async def pictures(self, *, per_picture: bool = True) -> tuple[Picture, ...]:
        """Return the pictures with their boxes.

        The n-th box belongs to the n-th picture, and an empty one is the whole picture, as is a missing one. Without `per_picture`, a
        request with one picture may have several boxes for it.
        """
        files = self._data.getlist("image")
        boxes = [_box(text) for text in self._texts("box")]
        if not all(isinstance(file, UploadFile) for file in files):
            raise Refused(422, "image: send the picture as a file, with a file name")
        several = not per_picture and len(files) == 1
        if len(boxes) > (self._limits.boxes if several else len(files)):
            raise Refused(
                422, f"{len(boxes)} boxes for {len(files)} pictures; give one for each, in their order"
            )
        pictures = []
        for number, file in enumerate(files):
            assert isinstance(file, UploadFile)
            if (file.size or 0) > self._limits.image:
                raise Refused(413, f"a picture may have at most {self._limits.image >> 20} MiB")
            own = boxes if several else boxes[number : number + 1]
            pictures.append(Picture(await file.read(), file_name(file.filename), tuple(own) or (WHOLE,)))
        return tuple(pictures)

    async def search(self) -> SearchForm:
        """Return the form of a search. Raises Refused for a wrong one."""
        rows = self.whole("row", 1, MOST_ID)
        pictures = await self.pictures()
        if not 1 <= len(rows) + len(pictures) <= self._limits.images:
            raise Refused(
                422, f"give 1 to {self._limits.images} pictures (image) or stored rows (row) of one person"
            )
        cameras = self.whole("camera", 0, MOST_CAMERA)
        top = self._one("top", self.whole("top", 1, self._limits.top))
        return SearchForm(
            pictures,
            tuple(rows),
            Filters(tuple(cameras) or None, self.time("after"), self.time("before")),
            DEFAULT_TOP if top is None else top,
            self._number("threshold", -1, 1),
            frozenset(self.whole("exclude", 1, MOST_ID)),
        )

    async def add(self) -> AddForm:
        """Return the form of an add. Raises Refused for a wrong one."""
        pictures = await self.pictures(per_picture=False)
        if not pictures:
            raise Refused(422, "image: give at least one picture")
        camera = self._one("camera", self.whole("camera", 0, MOST_CAMERA))
        return AddForm(pictures, self._name("person"), camera, self.time("time"), self._name("track"))

    def whole(self, name: str, least: int, most: int) -> list[int]:
        """Return the whole numbers in the fields with this name."""
        return [_whole(name, text, least, most) for text in self._texts(name)]

    def time(self, name: str) -> int | None:
        """Return the time in the field with this name, in microseconds since 1970, or None without one."""
        text = self._one(name, self._texts(name))
        return moment(text, name) if text else None

    def _texts(self, name: str) -> list[str]:
        values = self._data.getlist(name)
        if any(isinstance(value, UploadFile) for value in values):
            raise Refused(422, f"{name}: a file; give text")
        return [str(value) for value in values]

    def _one(self, name: str, values: list[Any]) -> Any:
        if len(values) > 1:
            raise Refused(422, f"{name}: given {len(values)} times; give it once")
        return values[0] if values else None

    def _number(self, name: str, least: float, most: float) -> float | None:
        text = self._one(name, self._texts(name))
        if text is None or text == "":
            return None
        try:
            value = float(text)
        except ValueError:
            # refused below, like a number out of range
            value = math.nan
        if not least <= value <= most:
            raise Refused(422, f"{name}: {text!r:.40}; give a number from {least} to {most}")
        return value

    def _name(self, name: str) -> str | None:
        text = self._one(name, self._texts(name))
        return checked_name(text, name) if text else None


def moment(text: str, name: str) -> int:
    """Return a time in ISO 8601 as microseconds since 1970; raise Refused for other text."""
    try:
        return microseconds(text, name)
    except ConfigError as error:
        raise Refused(422, str(error)) from None


def checked_name(text: str, what: str) -> str:
    """Return the name of a person or a track; raise Refused for one that is too long or has control characters."""
    if len(text) > MOST_NAME or not re.search(NAME_PATTERN, text) or text.endswith("\n"):
        raise Refused(422, f"{what}: give 1 to {MOST_NAME} characters, and no control characters")
    return text


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise Refused(422, f"{name}: {text!r:.40}; give a whole number from {least} to {most}")
    return int(text)


def _box(text: str) -> Box | None:
    if not text.strip():
        return WHOLE
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise Refused(
            422, f"box: {text!r:.60}; give x1,y1,x2,y2 in pixels, or nothing for the whole picture"
        ) from None
    return left, top, right, bottom
