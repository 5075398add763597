"""Extraction keeps the order, skips what is bad and says so, and never holds more than a window of crops."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.artifact import Artifact
from runtime.datasets import Item
from runtime.errors import DataError, NonFiniteFeatures, OutOfMemory
from runtime.extraction import extract as extract_module
from runtime.extraction.extract import TooManyBad, extract
from runtime.features import Features, duplicates
from runtime.images.decode import load_image
from runtime.images.preprocess import resize
from runtime.images.skipped import Skipped, write_skipped
from runtime.opening import open_artifact
from runtime.ranking.protocol import leaks
from runtime.spec import InputSpec
from tests.fakes.tiny_model import write_model

SPEC = InputSpec(height=16, width=8)


def artifact(run: Callable[..., Any], dim: int = 3) -> Artifact:
    return Artifact(Path("fake.onnx"), {}, SPEC, dim, "f" * 64, run)


def mean_colour(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
    return images.mean(axis=(1, 2)).astype(np.float32) + np.float32(1)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    random = np.random.default_rng(0)
    made = []
    for number in range(23):
        path = tmp_path / f"{number:02}.png"
        Image.fromarray(random.integers(0, 256, (20, 10, 3), dtype=np.uint8)).save(path)
        made.append(Item(str(path), number + 1, number % 3))
    return made


@pytest.mark.parametrize("batch", [1, 4, 23, 64])
@pytest.mark.parametrize("workers", [1, 4])
def test_features_come_in_the_order_of_the_items(items: list[Item], batch: int, workers: int) -> None:
    got = extract(artifact(mean_colour), items, batch=batch, workers=workers)
    pixels = np.stack([resize(load_image(item.path), SPEC) for item in items])
    expected = mean_colour(pixels)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(got.features, expected, atol=1e-6)
    assert got.features.dtype == np.float32
    assert got.paths == tuple(item.path for item in items)
    assert got.pids.tolist() == [item.pid for item in items]
    assert got.camids.tolist() == [item.camid for item in items]
    assert got.images == tuple(hashlib.sha256(Path(item.path).read_bytes()).hexdigest() for item in items)
    assert got.model == "f" * 64 and got.skipped == ()


def test_camera_ids_stay_with_their_images_when_others_are_skipped(items: list[Item]) -> None:
    for bad in (0, 5, 6):
        Path(items[bad].path).write_bytes(b"")
    ids = np.arange(100, 100 + len(items))
    sizes: list[int] = []

    def run(images: np.ndarray, camera_ids: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.stack([camera_ids, np.ones(len(images)), np.zeros(len(images))], axis=1).astype(np.float32)

    got = extract(artifact(run), items, batch=4, camera_ids=ids, max_bad=1)
    kept = [place for place in range(23) if place not in (0, 5, 6)]
    np.testing.assert_allclose(
        got.features[:, 0] / got.features[:, 1], [100 + place for place in kept], rtol=1e-3
    )
    assert got.pids.tolist() == [place + 1 for place in kept]
    # an engine that is built anew for each batch size meets two: a whole batch, and the last
    assert sizes == [4, 4, 4, 4, 4, 3]


def test_bad_images_are_skipped_with_reason_and_hash(items: list[Item]) -> None:
    Path(items[3].path).write_bytes(b"no image")
    os.unlink(items[9].path)
    got = extract(artifact(mean_colour), items, max_bad=0.1)
    assert [skipped.path for skipped in got.skipped] == [items[3].path, items[9].path]
    assert got.skipped[0].sha256 == hashlib.sha256(b"no image").hexdigest()
    assert got.skipped[1].sha256 is None and "No such file" in got.skipped[1].reason
    assert len(got.features) == 21


def test_too_many_bad_images_are_an_error_that_loses_nothing(items: list[Item]) -> None:
    Path(items[3].path).write_bytes(b"no image")
    with pytest.raises(TooManyBad, match="1 of 23") as caught:
        extract(artifact(mean_colour), items, max_bad=0.04)
    assert caught.value.code == 3 and items[3].path in str(caught.value)
    assert len(caught.value.features.features) == 22
    assert len(extract(artifact(mean_colour), items, max_bad=0.05).features) == 22


def test_nothing_usable_is_an_error_whatever_is_allowed(items: list[Item]) -> None:
    for item in items:
        Path(item.path).write_bytes(b"")
    with pytest.raises(TooManyBad, match="23 of 23") as caught:
        extract(artifact(mean_colour), items, max_bad=1)
    assert caught.value.features.features.shape == (0, 3)
    with pytest.raises(DataError, match="no images"):
        extract(artifact(mean_colour), [])


def test_a_zero_feature_is_skipped_and_never_ranked(items: list[Item]) -> None:
    Image.new("RGB", (8, 16)).save(items[4].path)
    got = extract(artifact(lambda images, ids=None: mean_colour(images) - 1), items, max_bad=0.1)
    assert [skipped.path for skipped in got.skipped] == [items[4].path]
    assert "zero" in got.skipped[0].reason
    assert np.isfinite(got.features).all()


@pytest.mark.parametrize("fits", [23, 3])
def test_features_that_are_not_numbers_name_the_first_file(items: list[Item], fits: int) -> None:
    Image.new("RGB", (8, 16)).save(items[17].path)

    def run(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
        if len(images) > fits:
            raise OutOfMemory("full")
        black = np.flatnonzero(images.max(axis=(1, 2, 3)) == 0)
        if len(black):
            raise NonFiniteFeatures("NaN", tuple(black))
        return mean_colour(images)

    with pytest.raises(NonFiniteFeatures, match="17.png") as caught:
        extract(artifact(run), items, batch=23)
    assert caught.value.code == 7


def test_out_of_memory_halves_the_batch_and_changes_nothing(items: list[Item]) -> None:
    sizes: list[int] = []

    def run(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
        sizes.append(len(images))
        if len(images) > 2:
            raise OutOfMemory("full")
        return mean_colour(images)

    got = extract(artifact(run), items, batch=16)
    np.testing.assert_array_equal(got.features, extract(artifact(mean_colour), items, batch=16).features)
    assert sizes[:4] == [16, 8, 4, 2]
    # Once found, the size that fits is kept.
    assert max(sizes[3:]) == 2


def test_out_of_memory_at_one_image_is_the_end(items: list[Item]) -> None:
    def run(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
        raise OutOfMemory("full")

    with pytest.raises(OutOfMemory) as caught:
        extract(artifact(run), items)
    assert caught.value.code == 5


def test_decoding_runs_while_the_model_does_and_stays_in_its_window(
    items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, too_far = threading.Event(), threading.Event()
    load = extract_module._load

    def watched(index: int, *how: Any) -> Any:
        crop = load(index, *how)
        # The first batch of 4 is in hand when the model runs; two batches may wait behind it.
        if index >= 4:
            ahead.set()
        if index >= 12:
            too_far.set()
        return crop

    first = True

    def run(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
        nonlocal first
        if first:
            assert ahead.wait(20), "no image was decoded while the model ran"
            assert not too_far.wait(0.5), "decoding ran away from the model"
        first = False
        return mean_colour(images)

    monkeypatch.setattr(extract_module, "_load", watched)
    extract(artifact(run), items, batch=4, workers=3)
    assert too_far.is_set()


def test_a_stop_ends_the_decoding_threads(items: list[Item]) -> None:
    def run(images: np.ndarray, camera_ids: np.ndarray | None = None) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(artifact(run), items, batch=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_progress_and_notes_are_reported(items: list[Item]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for item in items[:2]:
        Image.open(item.path).save(item.path, exif=exif)
    steps: list[int] = []
    got = extract(artifact(mean_colour), items, progress=steps.append)
    assert sum(steps) == 23
    assert len(got.notes) == 1 and got.notes[0].startswith("2 images") and "EXIF" in got.notes[0]


def test_copies_and_leaks_are_counted(items: list[Item]) -> None:
    Path(items[7].path).write_bytes(Path(items[2].path).read_bytes())
    got = extract(artifact(mean_colour), items)
    assert duplicates(got) == 1
    assert leaks(got, dataclasses.replace(got, images=())) == 0


def test_only_copies_that_the_protocol_keeps_are_leaks() -> None:
    def features(*rows: tuple[str, int, int]) -> Features:
        digests, pids, camids = zip(*rows)
        return Features(
            np.eye(len(rows), 4, dtype=np.float32),
            digests,
            np.array(pids),
            np.array(camids),
            "model",
            images=digests,
        )

    query = features(("a", 1, 0), ("b", 2, 0), ("c", 3, 1))
    # a: its own person and camera, dropped anyway; b: another camera; c: not there
    assert leaks(query, features(("a", 1, 0), ("b", 2, 1), ("x", 3, 1))) == 1
    # one copy is dropped, the other is not
    assert leaks(query, features(("a", 1, 0), ("a", 9, 0))) == 1


def test_a_real_session_gives_unit_features(tmp_path: Path, items: list[Item]) -> None:
    opened = open_artifact(write_model(tmp_path / "m.onnx"), threads=1)
    got = extract(opened, items, batch=5)
    assert got.features.shape == (23, opened.dim)
    np.testing.assert_allclose(np.linalg.norm(got.features, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(extract(opened, items, batch=23).features, got.features, atol=1e-6)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]


def test_skipped_images_are_listed_per_output(tmp_path: Path) -> None:
    q, g = tmp_path / "q.npz", tmp_path / "g.npz"
    assert write_skipped(q, [Skipped("a.jpg", "empty", "0" * 64)]) == tmp_path / "skipped.jsonl"
    write_skipped(g, [Skipped("b.jpg", "cut", None)])
    assert [
        (record["out"], record["path"], record["reason"], record["sha256"]) for record in records(tmp_path)
    ] == [
        ("q.npz", "a.jpg", "empty", "0" * 64),
        ("g.npz", "b.jpg", "cut", None),
    ]
    assert write_skipped(q, []) is None
    assert [record["out"] for record in records(tmp_path)] == ["g.npz"]
    write_skipped(g, [])
    assert not (tmp_path / "skipped.jsonl").exists()


def test_any_file_name_can_be_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\n.jpg")
    write_skipped(tmp_path / "f.npz", [Skipped(name, "bad", None)])
    (record,) = records(tmp_path)
    assert record["path"] == "\\xff\n.jpg"
    assert os.fsdecode(base64.b64decode(record["path_b64"])) == name
