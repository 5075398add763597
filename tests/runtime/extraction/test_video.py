"""Boxes of frames become features in the order of the frames; what cannot be used is listed, and a signal keeps what was done."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.artifact import Artifact
from runtime.errors import ConfigError, DataError, NonFiniteFeatures
from runtime.extraction.extract import TooManyBad, Unfinished
from runtime.extraction.video import VideoFlow, extract_boxes
from runtime.features import Features
from runtime.spec import InputSpec
from runtime.stopping import Stopped
from runtime.video.boxes import Boxes, read_boxes
from runtime.video.frames import Lost, NumberedFrame, read_frames
from runtime.video.source import Source
from tests.fakes.videos import picture

SPEC = InputSpec(height=16, width=8)
BOXES = [[10, 10, 40, 90], [0, 0, 30, 60], [100, 20, 160, 120], [-20, -5, 21.5, 33]]


class Shown:
    """A frame with its pixels; counts how often they are asked for."""

    converted: list[int] = []

    def __init__(self, number: int, time: float | None) -> None:
        self.number, self.time = number, time

    def rgb(self) -> np.ndarray:
        Shown.converted.append(self.number)
        return picture(self.number)


def film(count: int, end: Exception | None = None, read: list[int] | None = None) -> Iterator[NumberedFrame]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield NumberedFrame(number, number / 25, Shown(number, number / 25))
    if end is not None:
        raise end


def mean_colour(images: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
    return images.mean(axis=(1, 2)).astype(np.float32) + np.float32(1)


def artifact(run=mean_colour, spec: InputSpec = SPEC) -> Artifact:
    return Artifact(Path("fake.onnx"), {}, spec, 3, "f" * 64, run)


def boxes_of(folder: Path, *lines: object) -> Boxes:
    path = folder / "b.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return read_boxes(path)


def crowd(folder: Path, frames: int = 6, **more: object) -> Boxes:
    """Every second frame has all BOXES, with a track each."""
    return boxes_of(
        folder,
        *(
            {"frame": frame, "box": box, "track": track} | more
            for frame in range(0, frames, 2)
            for track, box in enumerate(BOXES)
        ),
    )


def run(boxes: Boxes, frames: Iterator[NumberedFrame], model: Artifact | None = None, **options) -> Features:
    flow = VideoFlow(**{key: options.pop(key) for key in ("batch", "workers", "policy") if key in options})
    return extract_boxes(model or artifact(), "v.mp4", lambda wait: frames, boxes, flow=flow, **options)


def expected(frame: int, box: list[float]) -> np.ndarray:
    """The feature of one box, computed with Pillow alone."""
    left, top, right, bottom = box
    crop = picture(frame)[
        max(int(np.floor(top)), 0) : int(np.ceil(bottom)), max(int(np.floor(left)), 0) : int(np.ceil(right))
    ]
    pixels = np.asarray(Image.fromarray(crop.copy()).resize((8, 16), Image.Resampling.BICUBIC))
    feature = mean_colour(pixels[None])[0]
    return feature / np.linalg.norm(feature)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_rows_are_sorted_by_frame_with_their_tracks_and_times(tmp_path, batch):
    Shown.converted, read = [], []
    counted: list[int] = []
    features = run(crowd(tmp_path), film(50, read=read), batch=batch, progress=counted.append)
    assert features.frames.tolist() == [0] * 4 + [2] * 4 + [4] * 4
    assert features.tracks.tolist() == [0, 1, 2, 3] * 3
    assert features.times == pytest.approx(features.frames / 25)
    assert features.paths[5] == "v.mp4#frame=2&box=1" and features.images == ()
    assert features.camids.tolist() == features.pids.tolist() == [-1] * 12
    for row, (frame, track) in enumerate(zip(features.frames, features.tracks)):
        np.testing.assert_allclose(features.features[row], expected(frame, BOXES[track]), atol=1e-6)
    # only frames with boxes are converted, and nothing is read after the last one
    assert Shown.converted == [0, 2, 4] and read == [0, 1, 2, 3, 4] and sum(counted) == 12


def test_the_file_of_boxes_gives_times_persons_and_cameras_first(tmp_path):
    boxes = boxes_of(
        tmp_path,
        {"frame": 1, "box": BOXES[0], "time": 1e9, "camera": 3, "person": 17, "track": 5},
        {"frame": 1, "box": BOXES[1]},
    )
    features = run(boxes, film(3))
    assert features.times.tolist() == [1e9, 1 / 25]
    assert features.pids.tolist() == [17, -1] and features.camids.tolist() == [3, -1]


def test_bad_boxes_are_skipped_and_listed_with_their_lines(tmp_path):
    boxes = boxes_of(
        tmp_path,
        {"frame": 0, "box": BOXES[0]},
        {"frame": 0, "box": [200, 0, 240, 90]},
        {"frame": 0, "box": [10, 10, 17, 90]},
        {"frame": 1, "box": [30, 10, 10, 90]},
        '{"frame": 1, "box": [NaN, 0, 20, 40]}',
        "no line",
        {"frame": 9, "box": BOXES[0]},
        {"frame": 1, "box": BOXES[1]},
    )
    features = run(boxes, film(3), max_bad=0.9, batch=2)
    assert features.paths == ("v.mp4#frame=0&box=0", "v.mp4#frame=1&box=2")
    skipped = {item.path: item.reason for item in features.skipped}
    assert list(skipped) == [
        "v.mp4#frame=0&box=1",
        "v.mp4#frame=0&box=2",
        "v.mp4#frame=1&box=0",
        "v.mp4#frame=1&box=1",
        "v.mp4#frame=9&box=0",
        f"{boxes.path}#line=6",
    ]
    reasons = list(skipped.values())
    assert all("8 pixels" in reason for reason in reasons[:3]) and "line 2 of" in reasons[0]
    assert "finite" in reasons[3] and "ends after frame 2" in reasons[4] and "JSON" in reasons[5]
    with pytest.raises(TooManyBad, match="6 of 8 boxes") as error:
        run(boxes, film(3), max_bad=0.5)
    assert error.value.features.frames.tolist() == [0, 1]
    with pytest.raises(TooManyBad) as error:
        run(boxes_of(tmp_path, {"frame": 9, "box": BOXES[0]}), film(3), max_bad=1)
    assert error.value.features.paths == () and error.value.features.times.shape == (0,)


def test_boxes_after_a_loss_are_skipped_with_the_reason(tmp_path):
    features = run(crowd(tmp_path), film(3, Lost("the stream was lost")), max_bad=0.5)
    assert features.frames.tolist() == [0] * 4 + [2] * 4
    assert {item.reason.split(" (")[0] for item in features.skipped} == {"the stream was lost"}


def test_frames_that_cannot_be_converted_cost_their_boxes_only(tmp_path, monkeypatch):
    def rgb(self: Shown) -> np.ndarray:
        if self.number == 2:
            raise DataError("a frame of 9x9 is larger than 40 megapixels")
        return picture(self.number)

    monkeypatch.setattr(Shown, "rgb", rgb)
    features = run(crowd(tmp_path), film(9), max_bad=0.5)
    assert set(features.frames.tolist()) == {0, 4} and len(features.skipped) == 4
    assert "megapixels" in features.skipped[0].reason


def test_other_errors_of_the_frames_arrive(tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        run(crowd(tmp_path), film(3, RuntimeError("broken")))


@pytest.mark.parametrize(
    ("policy", "seen", "camera"),
    [
        (None, {4}, "mean"),
        ("mean", {4}, "mean"),
        ("none", {5}, "none"),
        (1, {1}, "1"),
        ("input", {2, 4}, "input"),
    ],
)
def test_the_cameras_of_the_boxes_select_an_embedding_only_when_asked(tmp_path, policy, seen, camera):
    ids: list[int] = []

    def embed(images, camera_ids):
        ids.extend(camera_ids.tolist())
        return mean_colour(images)

    spec = InputSpec(height=16, width=8, camera="input", cameras=4, dataset="anny")
    boxes = boxes_of(
        tmp_path, {"frame": 0, "box": BOXES[0], "camera": 2}, {"frame": 1, "box": BOXES[0], "camera": 7}
    )
    features = run(boxes, film(5), artifact(embed, spec), policy=policy)
    assert set(ids) == seen and features.camera == camera and features.camids.tolist() == [2, 7]
    # with the default and with a camera that the model does not have, a note says that it is the mean
    assert bool(features.notes) == (policy in (None, "input"))
    with pytest.raises(ConfigError, match="camera"):
        run(boxes, film(5), artifact(embed, spec), policy=4)


def test_a_signal_keeps_the_features_of_the_finished_boxes(tmp_path):
    left = [2]

    def stopping(images, ids=None):
        if not left[0]:
            raise Stopped(signal.SIGTERM)
        left[0] -= 1
        return mean_colour(images)

    closed = []

    def frames() -> Iterator[NumberedFrame]:
        try:
            yield from film(50)
        finally:
            closed.append(True)

    with pytest.raises(Unfinished) as stop:
        run(crowd(tmp_path, 40), frames(), artifact(stopping), batch=3)
    kept = stop.value.features
    assert len(kept.paths) == 6 and stop.value.total == 80 and stop.value.number == signal.SIGTERM
    assert kept.frames.tolist() == [0] * 4 + [2] * 2 and kept.times == pytest.approx(kept.frames / 25)
    assert closed == [True]


def no_number(images: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
    raise NonFiniteFeatures("NaN", (1,))


def test_an_error_ends_the_reading_of_an_endless_stream(tmp_path):
    """Its next box is so far away that no chunk of boxes becomes ready any more."""
    boxes = boxes_of(tmp_path, *({"frame": frame, "box": box} for frame in (0, 10**9) for box in BOXES))
    with pytest.raises(NonFiniteFeatures):
        run(boxes, film(10**9), artifact(no_number), batch=4)
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_an_error_ends_the_waiting_for_a_lost_stream(tmp_path):
    lost = threading.Event()

    def decode(source: Source) -> Iterator[Shown]:
        yield Shown(0, 0.0)
        raise Lost("refused", again=True)

    def stream(wait):
        source = Source("rtsp://cam", "rtsp://cam", live=True)
        return read_frames(source, decode, note=lambda text: lost.set(), wait=lambda seconds: wait(1000))

    def failing(images, ids=None):
        assert lost.wait(20)
        return no_number(images)

    with pytest.raises(NonFiniteFeatures):
        extract_boxes(artifact(failing), "v", stream, crowd(tmp_path), flow=VideoFlow(4))
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_feature_that_is_not_a_number_names_its_box(tmp_path):
    with pytest.raises(NonFiniteFeatures, match="frame=0&box=1"):
        run(crowd(tmp_path), film(9), artifact(no_number))
