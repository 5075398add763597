"""Times of images: from arguments, file names and EXIF, never from the times of files, which a copy changes."""

from __future__ import annotations

import io
import os
import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from PIL import Image

from runtime.errors import ConfigError
from runtime.images.decode import FORMATS

Time = datetime | int | float | str
MILLION = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
# 20261127T101500, 2026-11-27_10-15-00.250, 2026-11-27 10:15:00Z, and the like; a fraction has up to 6 digits.
IN_NAME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)[-_T. ]{1,2}([0-2]\d)[-_:.h]?([0-5]\d)[-_:.m]?([0-6]\d)"
    r"(?:[.,](\d{1,6}))?(Z)?(?!\d)"
)
# Tags of EXIF: the time of the exposure, its fraction of a second, and its offset from UTC.
EXIF_BLOCK, ORIGINAL, FRACTION, OFFSET = 0x8769, 0x9003, 0x9291, 0x9011


def microseconds(value: Time, what: str = "time") -> int:
    """Return a time as microseconds since 1970 (UTC).

    `value` is a datetime with a time zone, seconds since 1970 (int or float), or text in ISO 8601 with a time zone or as a date alone,
    such as 2026-11-27T10:15:00Z or 2026-11-27. Raises ConfigError for anything else; `what` names it.
    """
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            text += "T00:00:00+00:00"
        try:
            # Python 3.10 does not read the Z
            value = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        except ValueError:
            raise ConfigError(
                f"{what}: {value!r:.40} is no time; give one such as 2026-11-27T10:15:00Z"
            ) from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{what}: {value} has no time zone; add one, such as Z for UTC or +01:00")
        return (value - EPOCH) // timedelta(microseconds=1)
    try:
        return round(float(value) * MILLION)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{what}: {value!r:.40} is no time; give seconds since 1970") from None


def time_text(time_us: int | None) -> str | None:
    """Return a time as ISO 8601 text in UTC; None for an unknown time."""
    if time_us is None:
        return None
    try:
        moment = EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return f"{time_us / MILLION:.0f} s"
    return moment.isoformat(timespec="microseconds" if time_us % MILLION else "seconds").replace(
        "+00:00", "Z"
    )


def duration(text: str) -> int:
    """Return a duration such as "30d" in microseconds. The units are m (minutes), h, d and w. Raises ConfigError for other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if match is None:
        raise ConfigError(
            f"{text!r:.40} is no duration; give a number and a unit, such as 90m, 12h, 30d or 4w"
        )
    return round(float(match[1]) * UNITS_S[match[2]] * MILLION)


def zone(name: str) -> tzinfo:
    """Return the time zone with an IANA name such as "Europe/Paris", or with an offset such as "+01:00"."""
    if match := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        sign = -1 if match[1] == "-" else 1
        return timezone(sign * timedelta(hours=int(match[2]), minutes=int(match[3])))
    try:
        return timezone.utc if name.upper() in ("UTC", "Z") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"{name!r:.40} is no time zone; give one such as UTC, +01:00 or Europe/Paris"
        ) from None


def time_in_name(path: str, local: tzinfo) -> int | None:
    """Return the time that a file name states, in microseconds since 1970, or None if it states none.

    A name states a time if it contains a date and a time of day with seconds, such as cam1_20261127T101500.jpg. It is in the time zone
    `local`, or in UTC if a Z follows.
    """
    match = IN_NAME.search(os.path.basename(path))
    if match is None:
        return None
    numbers = [int(match[group]) for group in range(1, 7)]
    fraction = int((match[7] or "0").ljust(6, "0"))
    return _moment(numbers, fraction, timezone.utc if match[8] else local)


def time_in_exif(data: bytes, local: tzinfo) -> int | None:
    """Return the time of exposure that the EXIF of an image file states, in microseconds since 1970; None if it states none.

    It is in the time zone of its offset tag, or in `local` without one.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            tags: Any = image.getexif().get_ifd(EXIF_BLOCK)
        text, offset = str(tags.get(ORIGINAL, "")), str(tags.get(OFFSET, ""))
        fraction = re.sub(r"\D.*", "", str(tags.get(FRACTION, "")).strip())
        match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", text)
        if match is None:
            return None
        where = zone(offset) if re.fullmatch(r"[+-]\d\d:\d\d", offset) else local
    # EXIF is untrusted, and its parser raises what a malformed field provokes
    except Exception:
        return None
    return _moment([int(part) for part in match.groups()], int((fraction or "0")[:6].ljust(6, "0")), where)


def _moment(numbers: list[int], fraction: int, where: tzinfo) -> int | None:
    try:
        return microseconds(datetime(*numbers, fraction, tzinfo=where))  # type: ignore[arg-type, misc]
    except (ValueError, ConfigError, OverflowError):
        return None
