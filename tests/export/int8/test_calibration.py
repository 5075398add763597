"""Which images calibrate, in what form they reach the graph, and what is refused."""

import dataclasses
import random
import shutil

import numpy as np
import pytest
from PIL import Image

from export.int8.calibration import calibration_set, content_hash, spaced
from export.options import SHIPPED
from runtime.errors import ConfigError, DataError
from runtime.spec import InputSpec

SPEC = InputSpec(height=64, width=32)
WITH_CAMERAS = dataclasses.replace(SPEC, camera="input", cameras=4, dataset="anny")


@pytest.fixture
def folder(tmp_path):
    """Ten pictures, each of one grey."""
    root = tmp_path / "pictures"
    root.mkdir()
    for index in range(10):
        Image.new("RGB", (16, 32), (20 * index,) * 3).save(root / f"{index}.png")
    return root


def test_the_crops_come_in_the_artifacts_own_input(folder):
    raw = calibration_set(folder, SPEC)
    assert raw.images.shape == (10, 64, 32, 3) and raw.camera_ids is None
    (feed,) = raw
    assert set(feed) == {"images"} and feed["images"].dtype == np.uint8
    floats = calibration_set(folder, dataclasses.replace(SPEC, layout="float-nchw"))
    (feed,) = floats
    assert feed["images"].shape == (10, 3, 64, 32) and feed["images"].dtype == np.float32
    # a grey of 20 is (20 / 255 - 0.5) / 0.5
    assert np.allclose(feed["images"][1], 40 / 255 - 1, atol=1e-6)


def test_feeds_can_be_taken_twice_and_the_last_is_short(folder):
    calibration = dataclasses.replace(calibration_set(folder, SPEC), batch=4)
    assert [len(feed["images"]) for feed in calibration] == [4, 4, 2]
    assert [len(feed["images"]) for feed in calibration] == [4, 4, 2]


def test_a_fixed_batch_is_filled_with_the_last_image(folder):
    calibration = calibration_set(folder, dataclasses.replace(SPEC, batch=4))
    parts = [feed["images"] for feed in calibration]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert (parts[2][1] == calibration.images[9]).all() and (parts[2][3] == calibration.images[9]).all()


def test_a_data_set_gives_its_training_images_with_its_own_cameras():
    calibration = calibration_set(SHIPPED, WITH_CAMERAS, count=40)
    assert len(calibration.images) == 40 and set(calibration.camera_ids) == {0, 1, 2, 3}
    query = calibration_set(SHIPPED / "query", WITH_CAMERAS, count=40)
    assert not {image.tobytes() for image in calibration.images} & {image.tobytes() for image in query.images}


def test_a_folder_without_known_cameras_gets_the_mean_and_says_so(folder):
    calibration = calibration_set(folder, WITH_CAMERAS)
    assert set(calibration.camera_ids) == {WITH_CAMERAS.mean_camera}
    assert any("camera embedding: mean" in note for note in calibration.notes)
    assert set(calibration_set(folder, WITH_CAMERAS, camera="none").camera_ids) == {WITH_CAMERAS.no_camera}


def test_few_images_are_warned_about_and_enough_are_not():
    (warning,) = calibration_set(SHIPPED, WITH_CAMERAS, count=499).notes
    assert warning.startswith("WARNING") and "499" in warning and "500" in warning
    assert calibration_set(SHIPPED, WITH_CAMERAS, count=500).notes == ()


def test_the_hash_is_of_the_contents_whatever_their_names_and_order(folder, tmp_path):
    other, names = tmp_path / "renamed", [f"x{index}.png" for index in range(10)]
    other.mkdir()
    random.Random(0).shuffle(names)
    for index, name in enumerate(names):
        shutil.copy(folder / f"{index}.png", other / name)
    before = calibration_set(folder, SPEC).sha256
    assert calibration_set(other, SPEC).sha256 == before
    with open(other / names[0], "ab") as file:
        file.write(b"\0")
    assert calibration_set(other, SPEC).sha256 != before


def test_a_file_twice_is_not_the_same_set():
    assert content_hash(["a", "b"]) != content_hash(["a", "a", "b"])


def test_the_choice_is_the_same_every_time_and_spread_over_all(folder):
    calibration = calibration_set(folder, SPEC, count=4)
    assert [int(image[0, 0, 0]) for image in calibration.images] == [0, 60, 120, 180]
    assert spaced(3, 10) == [0, 1, 2] and spaced(7, 1) == [0]


def test_an_unreadable_image_is_left_out_and_counted(folder):
    (folder / "3.png").write_bytes(b"not a picture")
    calibration = calibration_set(folder, SPEC)
    assert len(calibration.images) == 9
    assert any("1 of 10 images cannot be read" in note for note in calibration.notes)


@pytest.mark.parametrize("content", [None, b"", b"not a picture"])
def test_an_empty_or_unreadable_set_is_refused_in_one_line(content, tmp_path):
    if content is not None:
        for index in range(3):
            (tmp_path / f"{index}.jpg").write_bytes(content)
    with pytest.raises(DataError) as refusal:
        calibration_set(tmp_path, SPEC)
    assert str(tmp_path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_no_folder_and_no_count_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere.*--calibration DIR"):
        calibration_set(tmp_path / "nowhere", SPEC)
    with pytest.raises(ConfigError, match="--calibration-count 0"):
        calibration_set(tmp_path, SPEC, count=0)
