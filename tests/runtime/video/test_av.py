"""PyAV's frames have the right colours, times and rotation, and its errors say why without a password."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import DataError
from runtime.video.frames import Lost, read_frames
from runtime.video.source import Source, video_source
from tests.fakes.videos import FPS, SIZE, picture, sending, write_video

pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")

from runtime.video import av as av_module  # noqa: E402
from runtime.video.av import decode_frames  # noqa: E402


def decoded(path: Path | str) -> list:
    return list(decode_frames(video_source(path)))


def near(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the middles of the quarters have the same colours; a codec blurs the edges."""
    height, width = expected.shape[:2]
    places = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    return pixels.shape == expected.shape and all(
        np.abs(pixels[place].astype(int) - expected[place]).max() <= 12 for place in places
    )


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_the_frames_of_a_file_come_in_order_with_their_colours_and_times(tmp_path, suffix):
    frames = decoded(write_video(tmp_path / f"v{suffix}", 12))
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        pixels = frame.rgb()
        assert pixels.dtype == np.uint8 and near(pixels, picture(number)), number
    assert np.diff([frame.time for frame in frames]) == pytest.approx(1 / FPS, abs=2e-3)


def rotated(path: Path, matrix: tuple[int, ...]) -> Path:
    """The video with another matrix in its track header: a, b, u, c, d, v, x, y, w."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[at : at + 36])[0] == 1 << 16
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30), lambda pixels: np.rot90(pixels, -1)),
        ((0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30), np.rot90),
        ((-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30), lambda pixels: np.rot90(pixels, 2)),
    ],
    ids=["clockwise", "counterclockwise", "upside down"],
)
def test_a_video_is_rotated_upright_as_its_header_says(tmp_path, matrix, turned):
    if not hasattr(av_module.av.VideoFrame, "rotation"):
        pytest.skip("this PyAV does not tell the rotation")
    frames = decoded(rotated(write_video(tmp_path / "v.mp4", 3), matrix))
    assert near(frames[1].rgb(), turned(picture(1)))


def test_what_is_no_video_is_refused_with_the_reason(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    for path in (text, tmp_path, tmp_path / "nothing.mp4"):
        with pytest.raises(DataError, match=str(path)):
            next(read_frames(video_source(path), decode_frames))


def test_a_playlist_reads_nothing_from_a_network(tmp_path):
    playlist = tmp_path / "list.m3u8"
    connected: list[bool] = []
    with sending([b"HTTP/1.0 200 OK\r\n\r\n"], connected) as url:
        address = url.replace("tcp://", "http://")
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}/1.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(Lost):
            decoded(playlist)
    assert not connected


def test_a_cut_file_gives_the_frames_that_it_has(tmp_path):
    path = write_video(tmp_path / "v.ts", 20, format="mpegts")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 3 < len(decoded(path)) < 20


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every video, the packets 7 and 8 cannot be decoded."""
    honest = av_module._packets

    class Damaged:
        def decode(self):
            raise av_module.av.error.InvalidDataError(0, "damaged")

    def packets(container, live):
        for number, packet in enumerate(honest(container, live)):
            yield Damaged() if number in (7, 8) else packet

    monkeypatch.setattr(av_module, "_packets", packets)


@pytest.mark.usefixtures("damaged")
def test_damaged_packets_are_left_out_and_counted(tmp_path):
    path, notes = write_video(tmp_path / "v.mp4", 20), []
    assert len(list(decode_frames(video_source(path), notes.append))) == 18
    assert len(notes) == 1 and "2 damaged" in notes[0]


@pytest.mark.usefixtures("damaged")
def test_damaged_packets_are_counted_when_a_stream_ends_and_when_nobody_reads_on(tmp_path):
    data, notes = write_video(tmp_path / "v.ts", 20, format="mpegts").read_bytes(), []
    with sending([data]) as url, pytest.raises(Lost):
        list(decode_frames(video_source(url), notes.append))
    assert len(notes) == 1 and "2 damaged" in notes[0]
    frames = decode_frames(video_source(write_video(tmp_path / "v.mp4", 20)), notes.append)
    assert len([next(frames) for _ in range(12)]) == 12
    frames.close()
    assert len(notes) == 2


def test_a_frame_that_is_too_large_is_not_converted(tmp_path, monkeypatch):
    frame = decoded(write_video(tmp_path / "v.mp4", 2))[0]
    monkeypatch.setattr(av_module, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(DataError, match="megapixels"):
        frame.rgb()


def test_a_stream_that_hangs_up_is_opened_again_and_its_frames_go_on(tmp_path):
    data = write_video(tmp_path / "v.ts", 40, format="mpegts").read_bytes()
    notes: list[str] = []
    numbers = []
    with sending([data, data]) as url:
        frames = read_frames(video_source(url), decode_frames, note=notes.append, wait=lambda seconds: None)
        with pytest.raises(Lost, match="not opened again"):
            for frame in frames:
                numbers.append(frame.number)
    assert numbers == list(range(80))
    assert "ended" in notes[0] and "open again" in notes[1] and notes[-1].count("attempt 10 of 10") == 1


def test_a_stream_that_sends_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(av_module, "OPEN_S", 0.3)
    server = socket.create_server(("127.0.0.1", 0))
    with server, pytest.raises(Lost, match="no data") as error:
        list(decode_frames(video_source(f"tcp://127.0.0.1:{server.getsockname()[1]}")))
    assert error.value.again


def test_a_reason_does_not_contain_the_password():
    source = Source("rtsp://127.0.0.1:1/x", "rtsp://user:secret@127.0.0.1:1/x", live=True)
    with pytest.raises(Lost) as error:
        list(decode_frames(source))
    assert "secret" not in str(error.value) and "127.0.0.1" not in str(error.value)
