"""Crops and boxes in, features out, equal to those of the files that the crops were decoded from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime import ArtifactError, ConfigError, DataError, NonFiniteFeatures, OutOfMemory, open_model
from runtime.artifact import Artifact
from runtime.datasets.item import Item
from runtime.extraction.extract import extract
from runtime.images.boxes import crop_views
from runtime.images.decode import load_image
from runtime.model import Model
from runtime.spec import InputSpec
from tests.fakes.tiny_model import SPEC, write_model

ROOT = Path(__file__).resolve().parents[2]
QUERY = sorted((ROOT / "data/anny_reid/query").glob("*.jpg"))[:7]


@pytest.fixture
def model(tmp_path) -> Model:
    return open_model(write_model(tmp_path / "m.onnx"), batch=3)


@pytest.fixture
def crops() -> list[np.ndarray]:
    return [load_image(path) for path in QUERY]


def test_decoded_crops_have_the_features_of_their_files_bit_for_bit(model, crops):
    items = [Item(str(path), 1, 0) for path in QUERY]
    files = extract(model.artifact, items, batch=3)
    assert np.array_equal(model.embed(crops, color="rgb"), files.features)


def test_bgr_and_rgb_of_one_picture_agree_and_differ_from_each_other_mislabelled(model, crops):
    right = model.embed(crops, color="rgb")
    swapped = [crop[:, :, ::-1] for crop in crops]
    assert np.array_equal(model.embed(swapped, color="bgr"), right)
    assert not np.allclose(model.embed(swapped, color="rgb"), right)


def test_features_are_normalised_rows_in_the_order_of_the_crops(model, crops):
    features = model.embed(crops, color="rgb")
    assert features.shape == (len(crops), model.dim) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert np.allclose(model.embed(crops[::-1], color="rgb"), features[::-1], atol=1e-6)
    assert model.embed([], color="rgb").shape == (0, model.dim)


def test_color_has_no_default(model, crops):
    with pytest.raises(TypeError):
        model.embed(crops)
    with pytest.raises(ConfigError, match="color"):
        model.embed(crops, color="RGB")


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((20, 20, 3), np.float32),
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((3, 20, 20), np.uint8),
        np.zeros((4, 20, 3), np.uint8),
        [[0]],
    ],
)
def test_a_wrong_crop_is_named_by_its_number(model, crops, bad):
    with pytest.raises(DataError, match="crop 1"):
        model.embed([crops[0], bad], color="rgb")


def test_a_batch_that_does_not_fit_is_halved_and_the_features_stay(model, crops):
    sizes = []

    def small(images, ids=None):
        sizes.append(len(images))
        if len(images) > 1:
            raise OutOfMemory("too large")
        return model.artifact.run(images, ids)

    artifact = Artifact(**{**vars(model.artifact), "run": small})
    features = Model(artifact, 4).embed(crops[:4], color="rgb")
    assert np.allclose(features, model.embed(crops[:4], color="rgb"), atol=1e-6) and sizes[:2] == [4, 2]


def test_boxes_are_views_clipped_to_the_frame_with_fractions_rounded_outwards():
    frame = np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)
    inside, clipped, fraction, beyond, reversed_, unknown = crop_views(
        frame,
        [
            [5, 6, 15, 26],
            [-9, -9, 12, 99],
            [5.4, 6.9, 14.2, 25.1],
            [40, 50, 60, 90],
            [15, 6, 5, 26],
            [0, 0, np.nan, 9],
        ],
    )
    assert inside.base is not None and np.shares_memory(inside, frame)
    assert np.array_equal(inside, frame[6:26, 5:15])
    assert np.array_equal(clipped, frame[:, :12])
    assert np.array_equal(fraction, frame[6:26, 5:15])
    assert beyond is None and reversed_ is None and unknown is None


def test_boxes_of_a_frame_have_the_features_of_their_crops(model, crops):
    frame = np.zeros((300, 400, 3), np.uint8)
    height, width = crops[0].shape[:2]
    frame[10 : 10 + height, 20 : 20 + width] = crops[0]
    box = [20, 10, 20 + width, 10 + height]
    assert np.array_equal(model.embed_boxes(frame, [box], color="rgb"), model.embed(crops[:1], color="rgb"))


def test_an_empty_box_is_refused_by_its_number_or_gives_a_row_of_nan(model):
    frame = np.full((100, 100, 3), 90, np.uint8)
    boxes = [[0, 0, 50, 90], [200, 0, 250, 90]]
    with pytest.raises(DataError, match="box 1"):
        model.embed_boxes(frame, boxes, color="bgr")
    features = model.embed_boxes(frame, boxes, color="bgr", empty="nan")
    assert np.isfinite(features[0]).all() and np.isnan(features[1]).all()
    assert model.embed_boxes(frame, [], color="bgr").shape == (0, model.dim)


@pytest.mark.parametrize(
    ("frame", "boxes", "word"),
    [
        (np.zeros((50, 50), np.uint8), [[0, 0, 40, 40]], "frame"),
        (np.zeros((50, 50, 3), np.float32), [[0, 0, 40, 40]], "frame"),
        (np.zeros((50, 50, 3), np.uint8), [[0, 0, 40]], "boxes"),
        (np.zeros((50, 50, 3), np.uint8), [0, 0, 40, 40], "boxes"),
        (np.zeros((50, 50, 3), np.uint8), ["a", "b"], "boxes"),
    ],
)
def test_a_wrong_frame_or_wrong_boxes_are_one_clear_error(model, frame, boxes, word):
    with pytest.raises(DataError, match=word):
        model.embed_boxes(frame, boxes, color="rgb")


def test_cameras_go_with_their_crops(tmp_path, crops):
    seen = []

    def run(images, ids=None):
        seen.extend(ids.tolist())
        return np.eye(4, dtype=np.float32)[: len(images)] + np.float32(1)

    spec = InputSpec(height=32, width=16, camera="input", cameras=6)
    model = Model(Artifact(tmp_path / "m.onnx", {}, spec, 4, "0" * 64, run), 2)
    model.embed(crops[:3], color="rgb", camera=[2, -1, 5])
    assert seen == [2, spec.mean_camera, 5]
    seen.clear()
    frame = np.full((100, 100, 3), 90, np.uint8)
    model.embed_boxes(
        frame, [[0, 0, 50, 90], [200, 0, 250, 90], [9, 9, 60, 90]], color="rgb", camera=[1, 2, 3], empty="nan"
    )
    assert seen == [1, 3]
    seen.clear()
    model.embed(crops[:2], color="rgb")
    assert seen == [spec.mean_camera] * 2
    with pytest.raises(ConfigError, match="camera"):
        model.embed(crops[:2], color="rgb", camera=[1])
    seen.clear()
    model.embed(crops[:2], color="rgb", camera=np.int32(4))
    assert seen == [4, 4]
    for wrong in (6, np.int64(6), [0, 6], [0, -2], [0.0, 1.0], [[0], [0, 1]], "input", "front", 1.5):
        with pytest.raises(ConfigError, match="camera"):
            model.embed(crops[:2], color="rgb", camera=wrong)
    frame = np.full((100, 100, 3), 90, np.uint8)
    for length in (1, 3):
        with pytest.raises(ConfigError, match="camera"):
            model.embed_boxes(frame, [[0, 0, 50, 90], [9, 9, 60, 90]], color="rgb", camera=[1] * length)


def test_a_camera_for_a_model_without_cameras_is_refused(model, crops):
    assert np.array_equal(
        model.embed(crops[:1], color="rgb", camera="none"), model.embed(crops[:1], color="rgb")
    )
    for camera in (0, [0], "mean"):
        with pytest.raises(ConfigError, match="camera"):
            model.embed(crops[:1], color="rgb", camera=camera)


def test_a_feature_that_is_not_a_number_names_its_crop_or_box(tmp_path, crops):
    def run(images, ids=None):
        if len(images) > 1:
            raise OutOfMemory("too large")
        if np.array_equal(images[0], whole[4]):
            raise NonFiniteFeatures("NaN", (0,))
        return np.ones((1, 4), np.float32)

    spec = InputSpec(height=crops[0].shape[0], width=crops[0].shape[1])
    whole = [crop for crop in crops if crop.shape == crops[0].shape]
    model = Model(Artifact(tmp_path / "m.onnx", {}, spec, 4, "0" * 64, run), 3)
    with pytest.raises(NonFiniteFeatures, match="crop 4") as error:
        model.embed(whole, color="rgb")
    assert error.value.rows == (4,)
    frame = np.concatenate([whole[0], whole[4]], axis=1)
    height, width = whole[0].shape[:2]
    boxes = [[-9, 0, 0, 9], [0, 0, width, height], [width, 0, 2 * width, height]]
    with pytest.raises(NonFiniteFeatures, match="box 2"):
        model.embed_boxes(frame, boxes, color="rgb", empty="nan")


def test_a_feature_of_length_zero_names_its_crop(tmp_path, crops):
    artifact = Artifact(
        tmp_path / "m.onnx", {}, SPEC, 4, "0" * 64, lambda images, ids=None: np.zeros((len(images), 4))
    )
    with pytest.raises(DataError, match="crop 0"):
        Model(artifact, 3).embed(crops, color="rgb")


@pytest.mark.parametrize("colour", ["bgr", "RGB", "", None, 3])
def test_a_model_that_wants_another_order_of_channels_is_refused(tmp_path, colour):
    inputs = SPEC.to_json() | {"colour": colour}
    path = write_model(tmp_path / "m.onnx", manifest={"input": inputs})
    with pytest.raises(ArtifactError, match="colour"):
        open_model(path)


def test_a_model_that_names_no_order_of_channels_takes_rgb(tmp_path, model, crops):
    inputs = {name: value for name, value in SPEC.to_json().items() if name != "colour"}
    other = open_model(write_model(tmp_path / "old.onnx", manifest={"input": inputs}), batch=3)
    assert np.array_equal(other.embed(crops, color="rgb"), model.embed(crops, color="rgb"))
