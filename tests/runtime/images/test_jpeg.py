"""simplejpeg gives Pillow's pixels or nothing: whatever is unusual about a file stays Pillow's business, word for word."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import DataError
from runtime.images import decode as images
from runtime.images import jpeg
from runtime.images.decode import decode
from runtime.images.jpeg import Frame, decode_plain, plain_frame

simplejpeg = pytest.importorskip("simplejpeg", reason="simplejpeg is not installed: pip install '.[jpeg]'")

QUALITIES = (1, 30, 75, 90, 100)
SIZES = ((8, 8), (64, 128), (61, 127), (17, 9), (130, 401))


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise beside a ramp: what quantisation and upsampling treat most differently."""
    random = np.random.default_rng(width * 1000 + height)
    noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[:, : width // 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes) -> tuple[object, ...]:
    """What decoding gave before simplejpeg: pixels and notes, or the reason of the refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_plain", lambda data: None)
        return outcome(data)


def outcome(data: bytes) -> tuple[object, ...]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            decoded = decode(data)
        except DataError as error:
            return "refused", str(error), [str(warning.message) for warning in caught]
    return (
        decoded.pixels.shape,
        decoded.pixels.tobytes(),
        decoded.notes,
        [str(warning.message) for warning in caught],
    )


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_colour_pictures_are_pillows_to_the_bit(
    sampling: str, progressive: bool, size: tuple[int, int]
) -> None:
    for quality in QUALITIES:
        data = encoded(picture(*size), quality=quality, subsampling=sampling, progressive=progressive)
        frame = plain_frame(data)
        assert frame == Frame(*size, sampling, progressive)
        pixels = decode_plain(data, frame)
        assert pixels is not None and pixels.flags.writeable and pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        assert outcome(data) == by_pillow(data)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_grey_pictures_are_pillows_to_the_bit(progressive: bool, size: tuple[int, int]) -> None:
    data = encoded(picture(*size, mode="L"), quality=90, progressive=progressive)
    assert plain_frame(data) == Frame(*size, "grey", progressive)
    assert outcome(data) == by_pillow(data)


def test_optimised_tables_restarts_and_comments_are_plain_too() -> None:
    data = encoded(picture(64, 128), optimize=True, restart_marker_rows=1, comment=b"a camera")
    assert plain_frame(data) is not None and outcome(data) == by_pillow(data)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(60, 90), exif=exif)


PLAIN = encoded(picture(64, 128), quality=90)
UNUSUAL: dict[str, Callable[[], bytes]] = {
    "turned by Exif": lambda: turned(6),
    "upright by Exif": lambda: turned(1),
    "CMYK": lambda: encoded(picture(64, 128, mode="CMYK")),
    "4:1:1": lambda: simplejpeg.encode_jpeg(np.array(picture(64, 128)), 90, colorsubsampling="411"),
    "4:4:0": lambda: simplejpeg.encode_jpeg(np.array(picture(64, 128)), 90, colorsubsampling="440"),
    "RGB inside": lambda: encoded(picture(64, 128), keep_rgb=True),
    "colour profile": lambda: encoded(picture(64, 128), icc_profile=b"profile"),
    "cut in the pixels": lambda: PLAIN[: len(PLAIN) // 2],
    "cut, and ended": lambda: PLAIN[: len(PLAIN) // 2] + b"\xff\xd9",
    "without its end": lambda: PLAIN[:-2],
    "cut in the header": lambda: PLAIN[:30],
    "rubbish behind": lambda: PLAIN + b"rubbish",
    "another picture behind": lambda: PLAIN + PLAIN[:-2] + b"!",
    "rubbish before": lambda: b"\0" + PLAIN,
    "fill bytes": lambda: PLAIN[:2] + b"\xff\xff" + PLAIN[3:],
    "too small": lambda: encoded(picture(7, 100)),
    "no rows": lambda: PLAIN.replace((128).to_bytes(2, "big") + (64).to_bytes(2, "big"), b"\0\0\0\x40", 1),
    "too large": lambda: PLAIN.replace(
        (128).to_bytes(2, "big") + (64).to_bytes(2, "big"), b"\xff\xff\xff\xff", 1
    ),
    "taller than its pixels": lambda: PLAIN.replace(b"\0\x80\0\x40", b"\1\0\0\x40", 1),
    "12 bits": lambda: PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", 1),
    "a PNG": lambda: b"\x89PNG" + PLAIN,
    "only its ends": lambda: b"\xff\xd8\xff\xd9",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_comes_out_as_pillow_has_it(name: str) -> None:
    data = UNUSUAL[name]()
    assert outcome(data) == by_pillow(data)


@pytest.mark.parametrize("name", ["turned by Exif", "CMYK", "4:1:1", "4:4:0", "RGB inside", "rubbish behind"])
def test_what_is_unusual_is_not_even_tried(name: str) -> None:
    assert plain_frame(UNUSUAL[name]()) is None


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damage_anywhere_comes_out_as_pillow_has_it(data: st.DataObject) -> None:
    damaged = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(PLAIN) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(damaged)) == by_pillow(bytes(damaged))


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 700), length=st.integers(0, 40), insert=st.binary(max_size=40))
def test_damage_of_the_header_comes_out_as_pillow_has_it(at: int, length: int, insert: bytes) -> None:
    damaged = PLAIN[:at] + insert + PLAIN[at + length :]
    assert outcome(damaged) == by_pillow(damaged)


@pytest.fixture
def forgotten():
    """What was found out about the library is found out anew, before and after the test."""
    for known in (jpeg._agrees, jpeg._simplejpeg):
        known.cache_clear()
    yield
    for known in (jpeg._agrees, jpeg._simplejpeg):
        known.cache_clear()


def test_a_kind_that_the_libraries_decode_differently_goes_to_pillow(
    forgotten: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_jpeg = simplejpeg.decode_jpeg

    def newer(data: bytes, *how: object, **options: object) -> np.ndarray:
        pixels = decode_jpeg(data, *how, **options)
        frame = plain_frame(data)
        return pixels ^ 1 if frame is not None and frame.sampling == "4:2:0" else pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", newer)
    other = encoded(picture(64, 128), subsampling="4:2:0")
    assert decode_plain(other, Frame(64, 128, "4:2:0", False)) is None
    assert outcome(other) == by_pillow(other)
    same = encoded(picture(64, 128), subsampling="4:4:4")
    assert decode_plain(same, Frame(64, 128, "4:4:4", False)) is not None


def test_without_simplejpeg_pillow_decodes(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
    assert decode_plain(PLAIN, Frame(64, 128, "4:2:0", False)) is None
    assert outcome(PLAIN) == by_pillow(PLAIN)
