"""Every way a picture file can be wrong ends in a reason or in the right pixels, never in silent garbage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from runtime.errors import DataError
from runtime.images.decode import GREY, decode, load_image, read_bytes


def person(height: int = 48, width: int = 24) -> np.ndarray:
    """A smooth coloured pattern without symmetry, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [y * 255 // height, x * 255 // width, (x * 3 + y * 2) % 200 + 20]
    return np.stack(channels, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


RGB = Image.fromarray(person())
JPEG = encoded(RGB, "JPEG", quality=95)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"


def tiff_header(*entries: tuple[int, int, int], pixels: bytes = b"", order: str = "<") -> bytes:
    """A TIFF of one page: (tag, type 3 or 4, value) and one strip or tile of `pixels`."""
    tags = sorted([*entries, (273, 4, 8), (279, 4, len(pixels))])
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(pixels)) + pixels
    data += struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        stored = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        data += struct.pack(order + "HHI", tag, kind, 1) + stored
    return data + struct.pack(order + "I", 0)


def grey_tiff(values: np.ndarray, *, photometric: int = 1, order: str = "<", bits: int = 16) -> bytes:
    """(H, W) grey values of 16 or of 12 bits in an uncompressed TIFF."""
    stored = values.astype(order + "u2").tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        stored = b"".join(int(high << 12 | low).to_bytes(3, "big") for high, low in pairs)
    height, width = values.shape
    return tiff_header(
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (277, 3, 1),
        (278, 4, height),
        pixels=stored,
        order=order,
    )


AVIF = pytest.mark.skipif(not features.check("avif"), reason="the installed Pillow is built without AVIF")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA"])
def test_tiff_gives_the_pixels_back(mode: str, compression: str) -> None:
    image = RGB.convert(mode)
    np.testing.assert_array_equal(
        decode(encoded(image, "TIFF", compression=compression)).pixels, np.asarray(image.convert("RGB"))
    )


@AVIF
def test_avif_gives_nearly_the_pixels_back() -> None:
    got = decode(encoded(RGB, "AVIF", quality=95, subsampling="4:4:4")).pixels
    assert np.abs(got.astype(int) - person()).mean() < 6


def test_avif_without_a_decoder_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.images.decode._formats", lambda: ("JPEG", "PNG", "TIFF"))
    with pytest.raises(DataError, match="AVIF, which the installed Pillow"):
        decode(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf".ljust(200, b"\0"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "photometric"), [(16, 1), (16, 0), (12, 1)])
def test_wide_grey_tiffs_cover_the_whole_range(order: str, bits: int, photometric: int) -> None:
    values = np.linspace(0, (1 << bits) - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    data = grey_tiff(values, photometric=photometric, order=order, bits=bits)
    if order == ">" and (bits, photometric) != (16, 1):
        with pytest.raises(DataError):
            decode(data)
        return
    got = decode(data).pixels[:, :, 0]
    expected = values / ((1 << bits) - 1) * 255
    expected = 255 - expected if photometric == 0 else expected
    assert got.min() == 0 and got.max() == 255 and np.abs(got - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("mode", ["I", "F"])
def test_tiffs_of_32_bits_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match="no known range"):
        decode(encoded(Image.new(mode, (32, 32)), "TIFF"))


def test_a_colour_tiff_of_16_bits_looks_like_its_twin_of_8() -> None:
    pixels = (person().astype("<u2") * 257).tobytes()
    size = ((256, 4, 24), (257, 4, 48), (259, 3, 1), (262, 3, 2), (277, 3, 3), (278, 4, 48))
    np.testing.assert_array_equal(decode(tiff_header(*size, (258, 3, 16), pixels=pixels)).pixels, person())


@pytest.mark.parametrize("what", ["picture", "tile"])
def test_a_tiff_bomb_is_refused_by_its_header(what: str) -> None:
    sides = (50_000, 50_000) if what == "picture" else (24, 48)
    tags = [(256, 4, sides[0]), (257, 4, sides[1]), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    if what == "tile":
        tags += [(322, 4, 48_000), (323, 4, 48_000), (324, 4, 8), (325, 4, 9)]
    with pytest.raises(DataError, match="megapixels"):
        decode(tiff_header(*tags, pixels=zlib.compress(b"")))


@AVIF
def test_an_avif_bomb_is_refused_by_its_header() -> None:
    bomb = encoded(Image.new("L", (5000, 4001)), "AVIF", quality=1, speed=10)
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match="megapixels"):
        decode(bomb)


def test_a_tiff_whose_pages_lead_round_in_circles_ends() -> None:
    data = bytearray(encoded(RGB, "TIFF"))
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * count : first + 6 + 12 * count] = data[4:8]
    np.testing.assert_array_equal(decode(bytes(data)).pixels, person())


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    np.testing.assert_array_equal(decode(encoded(RGB, kind)).pixels, person())


def test_webp_and_jpeg_give_nearly_the_pixels_back() -> None:
    np.testing.assert_array_equal(decode(encoded(RGB, "WEBP", lossless=True)).pixels, person())
    assert np.abs(decode(JPEG).pixels.astype(int) - person()).mean() < 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no picture at all" * 9, "known kind"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known kind"),
        (EPS, "known kind"),
        (encoded(RGB, "GIF"), "known kind"),
        (encoded(RGB, "PPM"), "known kind"),
        (encoded(RGB, "PDF"), "known kind"),
        (b"SIMPLE  =                    T".ljust(2880), "known kind"),
        (b"8BPS\0\1".ljust(200, b"\0"), "known kind"),
        (png_header(50_000, 50_000), "megapixels"),
        (png_header(13_000, 13_000, bits=1, colour=0), "megapixels"),
        (png_header(5000, 4001), "megapixels"),
        (png_header(4000, 4000), "damaged"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else value,
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_unusable_files_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        decode(data)


def test_no_other_program_is_started_for_postscript(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(EPS)
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event in ('subprocess.Popen', 'os.system', 'os.posix_spawn') "
        "and sys.exit(99))\n"
        "from runtime.errors import DataError\nfrom runtime.images.decode import load_image\n"
        "try:\n    load_image(sys.argv[1])\nexcept DataError:\n    sys.exit(3)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.jpg"], cwd=root, timeout=60)
    assert done.returncode == 3


def test_a_picture_bomb_is_refused_without_its_memory(tmp_path: Path) -> None:
    bomb = encoded(Image.new("1", (13_000, 13_000)), "PNG")
    assert len(bomb) < 100_000
    code = (
        "import resource, sys\nfrom runtime.errors import DataError\nfrom runtime.images.decode import load_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load_image(sys.argv[1])\nexcept DataError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-W", "ignore", "-c", code, tmp_path / "bomb.png"]
    done = subprocess.run(command, cwd=root, timeout=60, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150_000  # KiB


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", pytest.param("AVIF", marks=AVIF)])
def test_a_cut_file_is_refused_at_every_length(kind: str) -> None:
    whole = encoded(RGB, kind)
    cuts = {len(whole) * part // 64 for part in range(64)} | {len(whole) - 2, 100}
    expected = decode(whole).pixels
    # The last bytes of a PNG are checksums and an end mark: without them all pixels can still be right.
    for cut in sorted(cuts):
        try:
            pixels = decode(whole[:cut]).pixels
        except DataError:
            continue
        assert kind == "PNG", f"{kind} cut to {cut} of {len(whole)} bytes was accepted"
        np.testing.assert_array_equal(pixels, expected)


def test_nothing_turns_on_truncated_loading() -> None:
    decode(JPEG)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "I;16"])
def test_every_pixel_mode_looks_like_its_rgb_twin(mode: str) -> None:
    grey = np.asarray(RGB.convert("L"))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
        twin = np.repeat(grey[:, :, None], 3, axis=2)
        assert image.mode == "I;16"
    else:
        image = RGB.convert(mode)
        twin = np.asarray(image.convert("RGB"))
    kind = {"CMYK": "JPEG"}.get(mode, "PNG")
    got = decode(encoded(image, kind, **({"quality": 100} if kind == "JPEG" else {}))).pixels.astype(float)
    cosine = (got * twin).sum() / np.sqrt((got**2).sum() * (twin.astype(float) ** 2).sum())
    assert got.shape == (48, 24, 3)
    assert cosine >= 0.999
    assert np.abs(got - twin).max() <= (0 if kind == "PNG" else 12)


def test_sixteen_bits_cover_the_whole_range() -> None:
    wide = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    got = decode(encoded(Image.fromarray(wide), "PNG")).pixels[:, :, 0]
    assert got.min() == 0 and got.max() == 255
    assert np.abs(got - wide / 257).max() <= 0.5 + 1e-9


def test_transparent_pixels_become_mean_grey() -> None:
    rgba = np.dstack([person(), np.full((48, 24), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    got = decode(encoded(Image.fromarray(rgba), "PNG")).pixels
    assert (got[:10] == GREY).all()
    half = (person()[10:20].astype(float) * 128 + GREY * 127) / 255
    assert np.abs(got[10:20] - half).max() <= 1
    np.testing.assert_array_equal(got[20:], person()[20:])


@pytest.mark.parametrize("transparency", [0, b"\x00\xff\xff"])
def test_a_transparent_palette_entry_becomes_mean_grey(transparency: object) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 255])
    image.paste(0, (0, 0, 8, 16))
    got = decode(encoded(image, "PNG", transparency=transparency)).pixels
    assert (got[:, :8] == GREY).all()
    assert (got[:, 8:] == [0, 200, 0]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", pytest.param("AVIF", marks=AVIF)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](person())))
    options = {"quality": 95, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    got = decode(encoded(stored, kind, exif=exif, **options))
    assert got.pixels.shape == person().shape
    assert np.abs(got.pixels.astype(int) - person()).mean() <= (6 if kind == "AVIF" else 0)
    assert bool(got.notes) == (orientation != 1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO", "TIFF", pytest.param("AVIF", marks=AVIF)])
def test_the_first_of_several_frames_is_used_and_said(kind: str) -> None:
    other = Image.new("RGB", RGB.size, (255, 0, 0))
    options = {"WEBP": {"lossless": True}, "MPO": {"quality": 95}}.get(kind, {})
    got = decode(encoded(RGB, kind, save_all=True, append_images=[other], **options))
    assert any("frames" in note for note in got.notes)
    if kind == "MPO":
        np.testing.assert_array_equal(got.pixels, decode(JPEG).pixels)
    elif kind == "AVIF":
        assert np.abs(got.pixels.astype(int) - person()).mean() < 12
    else:
        np.testing.assert_array_equal(got.pixels, person())


@pytest.mark.parametrize("side", range(1, 10))
@pytest.mark.parametrize("other", [1, 64])
def test_crops_with_a_side_under_eight_pixels_are_refused(side: int, other: int) -> None:
    for size in ((side, max(side, other)), (max(side, other), side)):
        data = encoded(Image.new("RGB", size), "PNG")
        if side < 8:
            with pytest.raises(DataError, match="smaller than 8"):
                decode(data)
        else:
            assert decode(data).pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("make", ["folder", "loop", "missing", "nul", "device"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: str) -> None:
    path: str | Path = tmp_path / "x.jpg"
    if make == "folder":
        Path(path).mkdir()
    elif make == "loop":
        os.symlink(path, path)
    elif make == "nul":
        path = "a\0b.jpg"
    elif make == "device":
        path = "/dev/zero"
    with pytest.raises(DataError, match="cannot be opened|not a regular file"):
        load_image(path)


def test_a_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    refused = threading.Event()

    def load() -> None:
        with pytest.raises(DataError, match="not a regular file"):
            load_image(tmp_path / "x.jpg")
        refused.set()

    threading.Thread(target=load, daemon=True).start()
    assert refused.wait(5)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "a.png"
    path.write_bytes(encoded(RGB, "PNG"))
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        load_image(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="MiB"):
        read_bytes(path)


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"n" * 250 + b".png", "e\u0301.png".encode()])
def test_any_file_name_can_be_read(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(encoded(RGB, "PNG"))
    np.testing.assert_array_equal(load_image(os.fsdecode(path)), person())


def test_the_error_of_load_image_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    with pytest.raises(DataError, match=r"bad\.jpg: damaged image"):
        load_image(tmp_path / "bad.jpg")


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", *["AVIF"] * features.check("avif")]),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_pixels_or_a_reason_and_nothing_else(kind: str, places: list) -> None:
    data = bytearray(encoded(RGB, kind))
    for place, value in places:
        data[min(int(place * len(data)), len(data) - 1)] = value
    try:
        pixels = decode(bytes(data)).pixels
    except DataError:
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
