"""Frames are numbered; a lost live source is opened again after growing pauses, and a file that ends is an end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from runtime.errors import DataError
from runtime.video import frames as frames_module
from runtime.video.frames import Lost, Reopening, read_frames
from runtime.video.source import Source, video_source

FILE = Source("v.mp4", "file:/v.mp4")
STREAM = Source("rtsp://cam/1", "rtsp://cam/1", live=True)


class Still:
    """A frame with the given time."""

    def __init__(self, time: float | None) -> None:
        self.time = time

    def rgb(self) -> np.ndarray:
        return np.zeros((10, 10, 3), np.uint8)


class Script:
    """Each opening gives the next of the scripted lists: times of frames, and exceptions."""

    def __init__(self, *openings: list[object]) -> None:
        self.openings = list(openings)
        self.opened = 0

    def __call__(self, source: Source) -> Iterator[Still]:
        self.opened += 1
        for step in self.openings.pop(0):
            if isinstance(step, Exception):
                raise step
            yield Still(step)


def play(
    source: Source, script: Script, **options: object
) -> tuple[list, list[str], list[float], str | None]:
    """(number and time of each frame, notes, pauses, why it was lost in the end)."""
    notes: list[str] = []
    pauses: list[float] = []
    numbered, reason = [], None
    try:
        for frame in read_frames(source, script, note=notes.append, wait=pauses.append, **options):
            numbered.append((frame.number, frame.time))
    except Lost as lost:
        reason = str(lost)
    return numbered, notes, pauses, reason


def lost(reason: str = "reset") -> Lost:
    return Lost(reason, again=True)


def test_a_file_that_ends_is_an_end():
    script = Script([0.0, 0.04, None])
    assert play(FILE, script) == ([(0, 0.0), (1, 0.04), (2, None)], [], [], None) and script.opened == 1


def test_a_file_that_breaks_off_is_not_opened_again():
    numbered, notes, pauses, reason = play(FILE, Script([0.0, 0.04, Lost("invalid data")]))
    assert [number for number, _ in numbered] == [0, 1] and not notes and not pauses
    assert "frame 1" in reason and "invalid data" in reason


@pytest.mark.parametrize("source", [FILE, STREAM])
def test_what_gives_no_frame_at_first_is_refused_at_once(source):
    script = Script([lost("Connection refused")])
    with pytest.raises(DataError, match="Connection refused"):
        play(source, script)
    assert script.opened == 1


def test_a_lost_stream_is_reported_and_opened_again_and_its_frames_go_on():
    script = Script(
        [0.0, 0.1, lost("it sends no data")],
        [lost("refused")],
        [5.0, 5.1, lost()],
        [0.0, lost()],
        *[[lost()]] * 2,
    )
    numbered, notes, pauses, reason = play(STREAM, script, reopening=Reopening(limit=2))
    assert [number for number, _ in numbered] == [0, 1, 2, 3, 4]
    # the pause grows, and begins anew after a frame
    assert pauses == [1, 2, 1, 1, 2]
    assert "no data" in notes[0] and "attempt 1 of 2" in notes[0] and "attempt 2 of 2" in notes[1]
    assert "number 2" in notes[2] and all(STREAM.name in note for note in notes)
    assert "frame 4" in reason and "not opened again" in reason


def test_times_go_on_by_the_seconds_that_the_stream_was_away(monkeypatch):
    clock = iter([0.0, 10.0, 10.5, 40.5, 40.5, 41.0])
    monkeypatch.setattr(frames_module.time, "monotonic", lambda: next(clock))
    # at the start, at the frames of 10.0 and 10.5, twice at the first frame after 30 s, and at the last frame
    script = Script([3.0, 3.5, lost()], [0.0, 0.5])
    times = [frame.time for frame in read_frames(STREAM, script, wait=lambda seconds: None)]
    assert times == pytest.approx([3.0, 3.5, 33.5, 34.0]) and next(clock, None) is None


def test_pauses_double_up_to_a_limit_and_zero_attempts_means_none():
    reopening = Reopening(limit=5, first_s=0.5, most_s=3)
    assert [reopening.wait_s(attempt) for attempt in (1, 2, 3, 4, 2000)] == [0.5, 1, 2, 3, 3]
    script = Script([0.0, lost()])
    numbered, notes, pauses, reason = play(STREAM, script, reopening=Reopening(limit=0))
    assert script.opened == 1 and not pauses and len(numbered) == 1 and reason


def test_a_caller_that_ends_the_waiting_gets_no_more_frames():
    script = Script([0.0, lost()])
    frames = read_frames(STREAM, script, wait=lambda seconds: True)
    assert [frame.number for frame in frames] == [0] and script.opened == 1


def test_closing_the_frames_closes_the_decoder():
    closed = []

    def decode(source: Source) -> Iterator[Still]:
        try:
            yield Still(0.0)
            yield Still(1.0)
        finally:
            closed.append(True)

    frames = read_frames(FILE, decode)
    next(frames)
    frames.close()
    assert closed == [True]


@pytest.mark.parametrize(
    ("video", "name", "live"),
    [
        ("street.mp4", "street.mp4", False),
        ("rtsp://user:secret@cam:554/1?a=b@c", "rtsp://cam:554/1?a=b@c", True),
        ("RTSPS://cam/1", "RTSPS://cam/1", True),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", True),
        ("0", "/dev/video0", True),
        (2, "/dev/video2", True),
        ("concat:a|b", "concat:a|b", False),
    ],
)
def test_a_source_is_a_file_a_stream_or_a_camera_and_hides_a_password(video, name, live):
    source = video_source(video)
    assert (source.name, source.live) == (name, live) and "secret" not in source.name
    assert source.format == ("v4l2" if name.startswith("/dev") else None)
    if not live:
        assert source.address.startswith("file:/")
