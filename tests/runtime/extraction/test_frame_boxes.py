"""Boxes of frames have the features of their crops; a thread prepares the next frame, and its errors reach the caller."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from runtime import ConfigError, DataError, NonFiniteFeatures, OutOfMemory, open_model
from runtime.artifact import Artifact
from runtime.extraction import arrays
from runtime.model import FRAME_BATCH, Model
from runtime.spec import InputSpec
from tests.fakes.tiny_model import SPEC, write_model

RANDOM = np.random.default_rng(3)
FRAME = RANDOM.integers(0, 256, (120, 200, 3), dtype=np.uint8)
# Inside, at each edge of the frame and beyond, one of exactly the model's size, and one of a single strip.
BOXES = [
    [10, 5, 40, 95],
    [0, 0, 20, 60],
    [170, 30, 200, 120],
    [-30, -7.5, 25.2, 130],
    [50, 50, 50 + SPEC.width, 50 + SPEC.height],
    [0, 100, 200, 110],
]


def sliced(frame: np.ndarray, boxes: list[list[float]]) -> list[np.ndarray]:
    """The crops as a user would copy them out of the frame."""
    crops = []
    for left, top, right, bottom in boxes:
        rows = slice(max(int(np.floor(top)), 0), int(np.ceil(bottom)))
        crops.append(frame[rows, max(int(np.floor(left)), 0) : int(np.ceil(right))].copy())
    return crops


@pytest.fixture
def model(tmp_path) -> Model:
    return open_model(write_model(tmp_path / "m.onnx"))


def recording(batch: int | None = None, **fields: object) -> tuple[Model, list[np.ndarray]]:
    """A model that records the batches it runs on."""
    seen: list[np.ndarray] = []

    def run(images, ids=None):
        seen.append(images)
        return images.mean(axis=(1, 2)).astype(np.float32) + np.float32(1)

    spec = InputSpec(height=32, width=16, batch=batch)
    return Model(Artifact(None, {}, spec, 3, "0" * 64, run), **fields), seen


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("threads", [1, 3])
def test_boxes_become_the_pixels_of_copied_crops_bit_for_bit(color, threads):
    model, seen = recording(threads=threads)
    model.embed_boxes(FRAME, BOXES, color=color)
    model.embed(sliced(FRAME, BOXES), color=color)
    boxes, crops = seen
    assert np.array_equal(boxes, crops)
    frame = FRAME if color == "rgb" else FRAME[:, :, ::-1].copy()
    pictures = [
        Image.fromarray(crop).resize((16, 32), Image.Resampling.BICUBIC) for crop in sliced(frame, BOXES)
    ]
    assert np.array_equal(boxes, np.stack([np.asarray(picture) for picture in pictures]))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "layout",
    [
        lambda frame: frame[:, :, ::-1],
        lambda frame: frame[::-1],
        lambda frame: frame[:, ::-1],
        lambda frame: np.asfortranarray(frame),
        lambda frame: np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)[::2, ::2],
        lambda frame: np.dstack([frame, frame])[:, :, :3],
    ],
    ids=["channels", "upside down", "mirrored", "fortran", "every second", "six channels"],
)
def test_frames_of_any_memory_layout_give_the_same_pixels(color, layout):
    model, seen = recording()
    frame = layout(FRAME)
    model.embed_boxes(frame, BOXES, color=color)
    model.embed_boxes(np.ascontiguousarray(frame), BOXES, color=color)
    assert np.array_equal(*seen)


def test_a_frame_that_may_not_be_written_is_read(model):
    frame = FRAME.copy()
    frame.setflags(write=False)
    expected = model.embed(sliced(FRAME, BOXES), color="bgr")
    assert np.array_equal(model.embed_boxes(frame, BOXES, color="bgr"), expected)


def test_all_boxes_of_a_frame_run_at_once_unless_a_batch_was_given(tmp_path):
    model, seen = recording()
    boxes = [[x, 0, x + 20, 60] for x in range(40)]
    model.embed_boxes(FRAME, boxes, color="rgb")
    assert [len(images) for images in seen] == [40]
    path = write_model(tmp_path / "m.onnx")
    assert open_model(path).frame_batch == FRAME_BATCH
    assert open_model(path, batch=5).frame_batch == 5
    assert open_model(path, preset="latency").frame_batch == 1
    fixed = open_model(write_model(tmp_path / "fixed.onnx", InputSpec(height=32, width=16, batch=4)))
    assert fixed.frame_batch == 4
    dynamic = open_model(path)
    assert np.allclose(
        fixed.embed_boxes(FRAME, boxes, color="rgb"),
        dynamic.embed_boxes(FRAME, boxes, color="rgb"),
        atol=1e-6,
    )


def test_frames_give_what_each_frame_gives_alone_in_their_order(model):
    frames = [(np.roll(FRAME, shift, axis=1), BOXES[: shift % 4]) for shift in range(9)]
    together = list(model.embed_frames(frames, color="bgr"))
    alone = [model.embed_boxes(frame, boxes, color="bgr") for frame, boxes in frames]
    assert [len(rows) for rows in together] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert list(model.embed_frames([], color="bgr")) == []


def test_the_next_frame_is_read_while_the_model_runs_on_this_one():
    second_read = threading.Event()

    def frames():
        yield FRAME, BOXES
        second_read.set()
        yield FRAME, BOXES

    def run(images, ids=None):
        assert second_read.wait(20)
        return np.ones((len(images), 3), np.float32)

    model = Model(Artifact(None, {}, InputSpec(height=32, width=16), 3, "0" * 64, run))
    assert len(list(model.embed_frames(frames(), color="rgb"))) == 2


def test_a_stopped_reader_takes_no_more_frames_and_closes_them(model):
    taken, closed = [], []

    def frames():
        try:
            for number in range(1000):
                taken.append(number)
                yield FRAME, BOXES
        finally:
            closed.append(True)

    features = model.embed_frames(frames(), color="rgb")
    next(features)
    features.close()
    assert len(taken) < 6 and closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_errors_name_the_frame_and_those_of_the_frames_arrive(model):
    frames = [(FRAME, BOXES), (FRAME, [[0, 0, 50, 90], [200, 0, 250, 90]])]
    features = model.embed_frames(frames, color="rgb")
    assert next(features).shape == (len(BOXES), model.dim)
    with pytest.raises(DataError, match="frame 1: box 1"):
        next(features)
    (_, masked) = model.embed_frames(frames, color="rgb", empty="nan")
    assert np.isnan(masked[1]).all() and np.isfinite(masked[0]).all()

    def broken():
        yield FRAME, BOXES
        raise OSError("camera unplugged")

    features = model.embed_frames(broken(), color="rgb")
    next(features)
    with pytest.raises(OSError, match="unplugged"):
        next(features)


def test_a_feature_that_is_not_a_number_names_its_frame():
    def run(images, ids=None):
        raise NonFiniteFeatures("NaN", (2,))

    model = Model(Artifact(None, {}, InputSpec(height=32, width=16), 3, "0" * 64, run))
    with pytest.raises(NonFiniteFeatures, match="frame 0: box 3"):
        list(model.embed_frames([(FRAME, [[-9, 0, 0, 9], *BOXES])], color="rgb", empty="nan"))


def test_the_batch_that_fitted_is_kept_for_the_next_frames():
    sizes = []

    def run(images, ids=None):
        sizes.append(len(images))
        if len(images) > 3:
            raise OutOfMemory("too large")
        return np.ones((len(images), 3), np.float32)

    model = Model(Artifact(None, {}, InputSpec(height=32, width=16), 3, "0" * 64, run))
    assert len(list(model.embed_frames([(FRAME, BOXES)] * 3, color="rgb"))) == 3
    assert sizes == [6, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    "options", [{"color": "RGB"}, {"color": "rgb", "empty": "skip"}, {"color": "rgb", "camera": [1, 2]}]
)
def test_wrong_options_are_refused_before_the_first_frame(model, options):
    with pytest.raises(ConfigError):
        model.embed_frames([], **options)


def test_a_model_of_worker_processes_takes_no_arrays(tmp_path):
    model = open_model(write_model(tmp_path / "m.onnx"), preset="throughput")
    for call in (
        lambda: model.embed_frames([], color="rgb"),
        lambda: model.embed_boxes(FRAME, BOXES, color="rgb"),
        lambda: model.embed([FRAME], color="rgb"),
    ):
        with pytest.raises(ConfigError, match="throughput"):
            call()


def test_a_few_crops_need_no_pool(monkeypatch):
    monkeypatch.setattr(arrays, "ThreadPoolExecutor", None)
    model, seen = recording()
    model.embed_boxes(FRAME, BOXES[: arrays.FEWEST_CROPS - 1], color="rgb")
    assert len(seen) == 1
