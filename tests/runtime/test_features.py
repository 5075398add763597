"""Features survive their file unchanged, and features of different models never meet."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ArtifactError, DataError, StorageError
from runtime.features import Features, load_features, same_model, save_features
from runtime.files.manifest import sha256, write_manifest
from runtime.ranking.nearest import nearest_rows
from runtime.ranking.protocol import known


def some(count: int = 4, dim: int = 5, model: str = "a" * 64) -> Features:
    random = np.random.default_rng(count).normal(size=(count, dim))
    return Features(
        features=(random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float32),
        paths=tuple(f"folder/{number}.jpg" for number in range(count)),
        pids=np.arange(count) - 1,
        camids=np.arange(count) - 1,
        model=model,
        layout="anny",
        camera="mean",
        images=tuple(f"{number:064x}" for number in range(count)),
    )


def assert_same(a: Features, b: Features) -> None:
    for name in ("features", "pids", "camids"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("paths", "model", "layout", "camera", "images"):
        assert getattr(a, name) == getattr(b, name)


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    save_features(tmp_path / "f.npz", some())
    assert_same(load_features(tmp_path / "f.npz"), some())


def of_video(count: int = 4) -> Features:
    return dataclasses.replace(
        some(count),
        frames=np.arange(count) * 3,
        times=np.array([*np.linspace(0, 1, count - 1), np.nan]),
        tracks=np.arange(count) - 1,
        images=(),
    )


def test_features_of_a_video_keep_their_frames_times_and_tracks(tmp_path: Path) -> None:
    save_features(tmp_path / "f.npz", of_video())
    loaded = load_features(tmp_path / "f.npz")
    assert_same(loaded, of_video())
    for name, kind in (("frames", np.int64), ("times", np.float64), ("tracks", np.int64)):
        values = getattr(loaded, name)
        np.testing.assert_array_equal(values, getattr(of_video(), name))
        assert values.dtype == kind


def test_features_of_images_have_no_arrays_of_a_video_as_in_earlier_versions(tmp_path: Path) -> None:
    save_features(tmp_path / "f.npz", some())
    with np.load(tmp_path / "f.npz") as file:
        before = set(file.files)
    assert not before & {"frames", "times", "tracks"}
    loaded = load_features(tmp_path / "f.npz")
    assert loaded.frames is loaded.times is loaded.tracks is None
    # an earlier version finds every array that it reads
    save_features(tmp_path / "v.npz", of_video())
    with np.load(tmp_path / "v.npz") as file:
        assert before < set(file.files)


def test_known_people_of_a_video_keep_what_belongs_to_their_rows() -> None:
    left = known(of_video())
    assert left.pids.tolist() == [0, 1, 2] and left.frames.tolist() == [3, 6, 9]
    assert left.tracks.tolist() == [0, 1, 2] and np.isnan(left.times[2]) and left.paths[0] == "folder/1.jpg"
    assert known(some()).frames is None


def test_names_that_are_not_utf8_and_absent_extras_survive(tmp_path: Path) -> None:
    paths = (os.fsdecode(b"\xff\xfe.jpg"), "a\nb.jpg", "e\u0301.jpg", "x" * 255)
    odd = dataclasses.replace(some(), paths=paths, layout=None, images=())
    save_features(tmp_path / "f.npz", odd)
    assert_same(load_features(tmp_path / "f.npz"), odd)


def test_the_file_has_the_promised_keys_and_no_pickle(tmp_path: Path) -> None:
    save_features(tmp_path / "f.npz", some())
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert {"features", "paths", "pids", "camids", "model"} <= set(file.files)
        assert file["features"].dtype == np.float32
        assert str(file["model"]) == "a" * 64
        assert all(file[name].dtype != object for name in file.files)
    manifest = json.loads((tmp_path / "f.npz.json").read_text())
    assert manifest["kind"] == "features" and manifest["parent"] == "a" * 64
    assert manifest["sha256"] == sha256(tmp_path / "f.npz")


@pytest.mark.parametrize("resize", ["exact", None])
def test_files_of_earlier_versions_are_read(tmp_path: Path, resize: str | None) -> None:
    """They record how images were resized, and the first ones did not."""
    rewritten(tmp_path / "f.npz", resize)
    assert_same(load_features(tmp_path / "f.npz"), some())


@pytest.mark.parametrize("resize", ["fast", "\x1b[31m", ""])
def test_features_of_images_that_were_resized_otherwise_are_refused(tmp_path: Path, resize: str) -> None:
    rewritten(tmp_path / "f.npz", resize)
    with pytest.raises(ArtifactError, match=re.escape(repr(resize))):
        load_features(tmp_path / "f.npz")


def test_earlier_versions_read_how_the_images_were_resized(tmp_path: Path) -> None:
    save_features(tmp_path / "f.npz", some())
    with np.load(tmp_path / "f.npz") as file:
        assert str(file["resize"]) == "exact"
    assert json.loads((tmp_path / "f.npz.json").read_text())["resize"] == "exact"


def rewritten(path: Path, resize: str | None) -> None:
    """Features in a file whose record of the resize is `resize`, or missing."""
    save_features(path, some())
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "resize"}
    np.savez(path, **arrays, **({} if resize is None else {"resize": np.array(resize)}))
    write_manifest(path, {"kind": "features"})


@pytest.mark.parametrize("damage", ["flip", "cut", "kind", "no manifest", "missing"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "f.npz"
    save_features(path, some())
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-20])
    elif damage == "kind":
        write_manifest(path, {"kind": "onnx"})
    elif damage == "no manifest":
        (tmp_path / "f.npz.json").unlink()
    else:
        path.unlink()
    with pytest.raises(ArtifactError):
        load_features(path)


def _arrays(**changed: object) -> dict[str, object]:
    good = some()
    arrays = {name: getattr(good, name) for name in ("features", "pids", "camids")}
    return arrays | {"paths": np.array(good.paths), "model": np.array(good.model)} | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"pids": np.arange(3)},
        {"features": some().features * 2},
        {"features": some().features * np.float32(np.nan)},
        {"features": some().features.astype(np.float64)},
        {"features": some().features[0]},
        {"paths": np.array(["a", "b"])},
        {"paths": np.array("a")},
        {"pids": np.arange(4).reshape(2, 2)},
        {"pids": np.array(list("abcd"))},
        {"frames": np.arange(3)},
        {"frames": np.arange(4.0)},
        {"times": np.arange(4)},
        {"tracks": np.array(list("abcd"))},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path, changed: dict) -> None:
    path = tmp_path / "f.npz"
    for arrays, good in ((_arrays(), True), (_arrays(**changed), False)):
        np.savez(path, **arrays)
        write_manifest(path, {"kind": "features"})
        if good:
            load_features(path)
        else:
            with pytest.raises(ArtifactError, match="extract again"):
                load_features(path)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {canary}",)

    path = tmp_path / "f.npz"
    for arrays in ({"features": np.array([Evil()], dtype=object)}, None):
        if arrays:
            np.savez(path, **arrays)
        else:
            path.write_bytes(pickle.dumps(Evil()))
        write_manifest(path, {"kind": "features"})
        with pytest.raises(ArtifactError):
            load_features(path)
    assert not canary.exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.npz"
    save_features(path, some())
    before = path.read_bytes()

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save_features(path, some(9))
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["f.npz", "f.npz.json"]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write here"):
        save_features(tmp_path / "file" / "f.npz", some())


def test_features_of_two_models_are_refused() -> None:
    same_model(some(), some(3))
    with pytest.raises(ArtifactError, match="different models"):
        same_model(some(), some(model="b" * 64))


@given(queries=st.integers(0, 5), gallery=st.integers(1, 30), top=st.integers(1, 40), seed=st.integers(0, 99))
def test_search_equals_a_stable_sort_of_all_distances(
    queries: int, gallery: int, top: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    # Few distinct vectors with exact products: many ties.
    basis = np.eye(3, dtype=np.float32)
    q, g = basis[random.integers(0, 3, queries)], basis[random.integers(0, 3, gallery)]
    indices, distances = nearest_rows(q, g, top=top, block=2)
    everything = 1 - q @ g.T
    expected = np.argsort(everything, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(distances, np.take_along_axis(everything, expected, axis=1))


def test_search_refuses_an_empty_gallery_and_other_widths() -> None:
    with pytest.raises(DataError, match="empty"):
        nearest_rows(np.ones((1, 3), np.float32), np.empty((0, 3), np.float32), top=1)
    with pytest.raises(ArtifactError, match="same model"):
        nearest_rows(np.ones((1, 3), np.float32), np.ones((2, 4), np.float32), top=1)
