"""Times come from arguments, names and EXIF, and their time zone is never guessed."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import ConfigError
from runtime.gallery.times import duration, microseconds, time_in_exif, time_in_name, time_text, zone

UTC = timezone.utc
MOMENT = datetime(2026, 11, 27, 10, 15, 30, tzinfo=UTC)
US = int(MOMENT.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MOMENT, US),
        (MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))), US),
        (MOMENT.timestamp(), US),
        (1_700_000_000, 1_700_000_000_000_000),
        (1.5, 1_500_000),
        (-1, -1_000_000),
        ("2026-11-27T10:15:30Z", US),
        ("2026-11-27 11:15:30+01:00", US),
        ("2026-11-27T10:15:30.000250+00:00", US + 250),
        ("2026-11-27", US - (10 * 3600 + 15 * 60 + 30) * 1_000_000),
    ],
)
def test_times_of_arguments(value: object, expected: int) -> None:
    assert microseconds(value) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["2026-11-27T10:15:30", datetime(2026, 1, 1), "yesterday", "", None, "10:15", float("nan"), [1]]
)
def test_other_times_are_refused(value: object) -> None:
    with pytest.raises(ConfigError):
        microseconds(value)  # type: ignore[arg-type]


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_a_time_survives_its_text(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert microseconds(time_text(microseconds(aware)) or "") == microseconds(aware)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cam1_20261127T101530.jpg", US),
        ("/a/20200101_000000/2026-11-27_10-15-30.png", US),
        ("2026-11-27T10:15:30.25_3.jpg", US + 250_000),
        ("hall.20261127-101530.jpg", US),
        ("hall 2026-11-27 10h15m30.jpg", US),
        ("0002_c1s1_000451_03.jpg", None),
        ("0001_c1_f0044158.jpg", None),
        ("0000_000_01_0303morning_0008_0.jpg", None),
        ("99990101123456789.jpg", None),
        ("20261327T101530.jpg", None),
        ("IMG_20261127.jpg", None),
    ],
)
def test_times_in_names(name: str, expected: int | None) -> None:
    assert time_in_name(name, UTC) == expected


def test_the_time_zone_of_names() -> None:
    assert time_in_name("20261127T111530.jpg", zone("+01:00")) == US
    assert time_in_name("20261127T111530.jpg", zone("Europe/Paris")) == US
    assert time_in_name("20260727T121530.jpg", zone("Europe/Paris")) == microseconds("2026-07-27T10:15:30Z")
    assert time_in_name("20261127T101530Z.jpg", zone("Europe/Paris")) == US
    for wrong in ("Mars", "", "../etc/passwd", "1"):
        with pytest.raises(ConfigError):
            zone(wrong)


def exif_image(**tags: str) -> bytes:
    image, stream = Image.new("RGB", (16, 16)), io.BytesIO()
    exif = image.getexif()
    numbers = {"original": 0x9003, "fraction": 0x9291, "offset": 0x9011}
    exif.get_ifd(0x8769).update({numbers[name]: value for name, value in tags.items()})
    image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def test_times_in_exif() -> None:
    text = "2026:11:27 10:15:30"
    assert time_in_exif(exif_image(original=text), UTC) == US
    assert time_in_exif(exif_image(original=text), zone("-02:00")) == US + 7_200_000_000
    assert time_in_exif(exif_image(original=text, offset="+01:00"), UTC) == US - 3_600_000_000
    assert time_in_exif(exif_image(original=text, fraction="25"), UTC) == US + 250_000
    assert time_in_exif(exif_image(), UTC) is None
    assert time_in_exif(exif_image(original="0000:00:00 00:00:00"), UTC) is None
    assert time_in_exif(b"no image", UTC) is None


def test_durations() -> None:
    assert duration("30d") == 30 * 86_400_000_000
    assert duration("90m") == 5_400_000_000
    assert duration("1.5h") == duration("90m") and duration("2w") == duration("14d")
    for wrong in ("30", "d", "-1d", "3y", ""):
        with pytest.raises(ConfigError):
            duration(wrong)
