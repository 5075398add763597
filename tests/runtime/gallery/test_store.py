"""The store of a gallery: what is added is there, what is deleted is in no file, and every failure leaves all or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.gallery.postgres.files import flush
from benchmarks.gallery.rows import SPACE, contents, feature, features, gallery, put, row
from runtime.errors import ArtifactError, ConfigError, DataError, NonFiniteFeatures, StorageError
from runtime.features import Features, save_features
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.exchange import merge
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.gallery.store.segments import Segments
from runtime.options.store_place import ServerAddress
from tests.runtime.gallery.conftest import NUMBERS, At


def check(store: Gallery, numbers: set[int]) -> None:
    """The store holds exactly these rows, each with its own feature, and nothing is damaged."""
    ids = store.ids()
    rows, stored = store.rows(ids)
    assert {one.sha256: one for one in rows} == {row(n).sha256: row(n) for n in numbers}
    assert len(rows) == len(numbers)
    by_image = {row(n).sha256: feature(n) for n in numbers}
    for one, values in zip(rows, stored):
        assert np.array_equal(values, by_image[one.sha256])
    assert store.verify().problems == () and store.verify().rows == len(numbers)


def test_what_is_added_is_there_after_opening_again(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(40))
    with open_gallery(at("g")) as store:
        check(store, set(range(40)))
        assert store.space == SPACE


def test_adding_again_changes_nothing_and_tells_other_labels(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(10))
        before = contents(at("g"))
        again = store.add_rows([row(n) for n in range(4, 12)], features(range(4, 12)))
        assert (again.added, again.present, again.differing) == (2, 6, 0)
        assert contents(at("g")) != before
        other = store.add_rows([Row(row(3).sha256, camera=9)], features([3]))
        assert (other.added, other.present, other.differing) == (0, 1, 1)
        twice = store.add_rows([row(50), row(50)], features([50, 50]))
        assert (twice.added, twice.present) == (1, 1)
        elsewhere = store.add_rows([Row(row(3).sha256, source="other")], features([3]))
        assert elsewhere.added == 1


@pytest.mark.parametrize("how", ["person", "image", "camera", "before", "id", "expire"])
def test_deleted_bytes_are_in_no_file(at: At, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = at("g")
    with gallery(folder) as store:
        for start in range(0, 100, 10):
            numbers = range(start, start + 10)
            small = [f"thumbnail of {n:06d}".encode() for n in numbers]
            store.add_rows([row(n) for n in numbers], features(numbers), small)
        chosen: dict[str, tuple[Callable[[], int], set[int]]] = {
            "person": (lambda: store.delete(person="person-3"), {n for n in range(100) if n % 7 == 3}),
            "image": (lambda: store.delete(image=row(44).path), {44}),
            "camera": (lambda: store.delete(camera=1), {n for n in range(100) if n % 3 == 1}),
            "before": (lambda: store.delete(before=50), set(range(50))),
            "id": (lambda: store.delete(id=5), {4}),
            "expire": (lambda: store.expire(30_000_000), set(range(70))),
        }
        monkeypatch.setattr("time.time", lambda: 100.0)
        delete, gone = chosen[how]
        if isinstance(folder, ServerAddress):
            flush(folder)
        assert all(feature(n).tobytes() in contents(folder) for n in gone)
        assert delete() == len(gone)
        found = contents(folder)
        # the files of a server are large
        for n in sorted(gone)[:: 4 if isinstance(folder, ServerAddress) else 1]:
            marks = (feature(n).tobytes(), row(n).path.encode(), bytes.fromhex(row(n).sha256))
            assert not any(mark in found for mark in (*marks, f"thumbnail of {n:06d}".encode())), n
        check(store, set(range(100)) - gone)
        assert store.compact().freed >= 0
        check(store, set(range(100)) - gone)
        assert store.info().free_slots == 0


def test_nothing_says_what_to_delete(at: At) -> None:
    with gallery(at("g")) as store, pytest.raises(ConfigError):
        store.delete()


def test_another_embedding_space_is_refused_with_what_differs(at: At) -> None:
    gallery(at("g")).close()
    for other, word in (
        (Space("b" * 64, SPACE.dim, "none"), "bbbb"),
        (Space(SPACE.model, 7, "none"), "7"),
        (Space(SPACE.model, SPACE.dim, "mean"), "mean"),
        (Space(SPACE.model, SPACE.dim, "none", "fast"), "fast"),
    ):
        with pytest.raises(ArtifactError, match=word) as caught:
            open_storage(at("g"), other)
        assert caught.value.code == 4


def test_features_that_are_no_unit_vectors_are_refused(at: At) -> None:
    with gallery(at("g")) as store:
        bad = features(range(3))
        bad[1] *= 2
        with pytest.raises(DataError, match="feature 1"):
            store.add_rows([row(n) for n in range(3)], bad)
        bad[1] = np.nan
        with pytest.raises(NonFiniteFeatures):
            store.add_rows([row(n) for n in range(3)], bad)
        with pytest.raises(DataError):
            store.add(np.ones((2, 3), np.float32))
        with pytest.raises(DataError, match="cameras"):
            store.add(features([1, 2]), cameras=[1])
        assert len(store) == 0


def test_labels_of_arrays(at: At) -> None:
    with gallery(at("g")) as store:
        given = {"cameras": [0, -1], "times": ["2026-11-27T10:00:00Z", None], "tracks": [3, None]}
        assert store.add(features([1, 2]), **given, persons=["Ann", -1]).added == 2  # type: ignore[arg-type]
        assert store.add(features([1, 2]), **given).added == 0  # type: ignore[arg-type]
        first, second = store.rows(store.ids())[0]
        assert (first.camera, first.track, first.person) == (0, "3", "Ann")
        assert first.time_us == 1_795_773_600_000_000
        assert (second.camera, second.time_us, second.track, second.person) == (None,) * 4
        # the same feature at another time is another row
        assert store.add(features([1]), times=[5]).added == 1
        with pytest.raises(ConfigError, match="zone"):
            store.add(features([3]), times=["2026-11-27T10:00:00"])


def test_a_missing_gallery_is_named_with_the_command_that_makes_one(at: At) -> None:
    with pytest.raises(DataError, match="gallery add") as caught:
        open_gallery(at("none"))
    assert caught.value.code == 3 and str(at("none")) in str(caught.value)


def test_a_foreign_and_a_newer_gallery(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    sqlite3.connect(folder / "gallery.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(StorageError, match="another program"):
        open_gallery(folder)
    gallery(tmp_path / "new").close()
    newer = sqlite3.connect(tmp_path / "new" / "gallery.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StorageError, match="99") as caught:
        open_gallery(tmp_path / "new")
    assert caught.value.code == 6
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "gallery.db").write_bytes(os.urandom(8192))
    with pytest.raises(StorageError, match="noise"):
        open_gallery(tmp_path / "noise")


def test_bytes_after_the_last_row_are_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with gallery(folder) as store:
        put(store, range(20))
        tail = folder / "000000-000001.f32"
        with open(tail, "ab") as file:
            file.write(b"left by a crash" * 100)
        (folder / "000000-000002.f32").write_bytes(b"a file of a crash")
        (folder / "000001-000000.f32").write_bytes(b"a compaction of a crash")
        put(store, range(20, 30))
        check(store, set(range(30)))
        assert b"crash" not in contents(folder)


# Everything that the store does to files outside SQLite; each test lets one call fail, in turn.
CALLS = ("pwrite", "fdatasync", "fsync", "ftruncate", "unlink")


def failing(monkeypatch: pytest.MonkeyPatch, at: int) -> list[int]:
    """Let call number `at` of the file operations fail; return the number of calls as a list of one."""
    count = [0]

    def wrap(name: str) -> None:
        honest = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == at:
                raise OSError(errno.ENOSPC if at % 2 else errno.EIO, os.strerror(errno.ENOSPC))
            return honest(*args, **options)

        monkeypatch.setattr(os, name, call)

    for name in CALLS:
        wrap(name)
    return count


@pytest.mark.parametrize("operation", ["add", "delete", "compact"])
def test_every_failing_file_operation_leaves_all_or_nothing(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    before = set(range(40))
    with gallery(whole, segment_rows=32) as store:
        put(store, before)
        if operation == "compact":
            store.delete(person="person-2")
            before -= {n for n in before if n % 7 == 2}
    at, failures = 0, 0
    while True:
        at += 1
        folder = shutil.copytree(whole, tmp_path / f"{operation}{at}")
        with gallery(folder) as store:
            after = before
            with monkeypatch.context() as patch:
                count = failing(patch, at)
                try:
                    if operation == "add":
                        after = before | set(range(100, 130))
                        put(store, range(100, 130))
                    elif operation == "delete":
                        after = {n for n in before if n % 3 != 1}
                        store.delete(camera=1)
                    else:
                        store.compact()
                except StorageError as error:
                    failures += 1
                    assert error.code == 6
                    stored = {n for n in range(200) if row(n).sha256 in hashes(store)}
                    assert stored in (before, after)
                    after = stored
        # a new process finds the same, before and after the recovery
        with open_gallery(folder) as store:
            check(store, after)
            put(store, [199])
            check(store, after | {199})
            found = contents(folder)
            gone = set(range(40)) - after
            assert not any(feature(n).tobytes() in found for n in gone)
        if count[0] < at:
            break
    assert failures >= 3


def hashes(store: Gallery) -> set[str]:
    return {one.sha256 for one in store.rows(store.ids())[0]}


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, offsets = os.pwrite, list[int]()

    def short(file: int, data: memoryview, offset: int) -> int:
        offsets.append(offset)
        return honest(file, data[: max(1, len(data) // 2)], offset)

    size = feature(0).nbytes * 10
    with gallery(tmp_path / "g") as store:
        monkeypatch.setattr(os, "pwrite", short)
        put(store, range(10))
        # each write begins where the one before ended
        assert offsets[:3] == [0, size // 2, size // 2 + size // 4]
        check(store, set(range(10)))


def test_flipped_bytes_are_errors_and_never_other_results(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with gallery(folder, segment_rows=64) as store:
        put(store, range(60))
    random = np.random.default_rng(0)
    files = sorted(path for path in folder.iterdir() if path.stat().st_size)
    whole = {path: path.read_bytes() for path in files}
    refused = 0
    for _ in range(200):
        path = files[random.integers(len(files))]
        data = bytearray(whole[path])
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        try:
            with open_gallery(folder) as store:
                hits = store.search(features(range(5)), top=3)
            assert [hit.row for hit in hits if hit.rank == 1] == [row(n) for n in range(5)]
        except (StorageError, DataError):
            refused += 1
        for left in folder.iterdir():
            if left not in whole and left.name != "lock":
                left.unlink()
        for path, content in whole.items():
            path.write_bytes(content)
    assert refused > 20


def test_a_read_only_folder_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gallery(tmp_path / "g") as store:
        put(store, range(10))
    honest = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and honest(path, mode))
    before = contents(tmp_path / "g")
    with open_gallery(tmp_path / "g") as store:
        assert store.search(feature(3), top=1)[0].row == row(3)
        with pytest.raises(StorageError, match="written"):
            put(store, [11])
    assert contents(tmp_path / "g") == before


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 60), min_size=1, max_size=12)),
        st.tuples(st.just("person"), st.integers(0, 6)),
        st.tuples(st.just("camera"), st.integers(0, 2)),
        st.tuples(st.just("before"), st.integers(0, 60)),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_any_sequence_equals_a_dict(at: At, steps: list[Any]) -> None:
    folder = at(f"model{next(NUMBERS)}")
    if isinstance(folder, ServerAddress):
        # a deletion rewrites all tables there
        steps = steps[:6]
    store, model = gallery(folder, segment_rows=8), set[int]()
    query = feature(1000)
    for name, value in steps:
        if name == "add":
            put(store, value)
            model |= set(value)
        elif name == "compact":
            store.compact()
        elif name == "reopen":
            store.close()
            store = gallery(folder, segment_rows=8)
        else:
            given = {"person": f"person-{value}", "camera": value, "before": value}[name]
            gone = {
                n
                for n in model
                if {"person": n % 7 == value, "camera": n % 3 == value, "before": n < value}[name]
            }
            assert store.delete(**{name: given}) == len(gone)  # type: ignore[arg-type]
            model -= gone
        hits = store.search(query, top=100)
        expected = sorted(model, key=lambda n: -float(feature(n) @ query))
        assert {hit.row.sha256 for hit in hits} == {row(n).sha256 for n in model}
        assert [hit.distance for hit in hits] == pytest.approx(
            [1 - float(feature(n) @ query) for n in expected], abs=1e-5
        )
    check(store, model)
    store.close()


def test_copies_that_sqlite_left_between_its_pages_are_erased_too(tmp_path: Path) -> None:
    """secure_delete alone is not enough: rows that moved to another page leave a copy on the first one."""
    folder, random = tmp_path / "g", np.random.default_rng(0)
    with gallery(folder, segment_rows=4096) as store:
        gone: set[int] = set()
        for start in range(0, 3000, 60):
            put(store, range(start, start + 60))
            if start % 300 == 240:
                person = int(random.integers(7))
                store.delete(person=f"person-{person}")
                gone |= {n for n in range(start + 60) if n % 7 == person}
        found = contents(folder)
        assert len(gone) > 500
        assert not [n for n in gone if row(n).path.encode() in found or bytes.fromhex(row(n).sha256) in found]


def test_features_of_a_video_keep_their_tracks_and_count_from_its_start(tmp_path: Path, at: At) -> None:
    table = features(range(3))
    video = Features(
        table,
        tuple(f"street.mp4#frame={n}&box=0" for n in range(3)),
        np.array([-1, 4, 0]),
        np.array([2, 2, -1]),
        SPACE.model,
        frames=np.arange(3),
        times=np.array([0.5, np.nan, 2.0]),
        tracks=np.array([7, -1, 7]),
    )
    save_features(tmp_path / "f.npz", video)
    merge(at("g"), [tmp_path / "f.npz"], start="2026-11-27T10:00:00Z")
    with open_gallery(at("g")) as store:
        rows, stored = store.rows(store.ids())
        assert [row.time_us for row in rows] == [1_795_773_600_500_000, None, 1_795_773_602_000_000]
        assert [(row.track, row.camera, row.person) for row in rows] == [
            ("7", 2, None),
            (None, 2, "4"),
            ("7", None, None),
        ]
        assert rows[0].path.endswith("street.mp4#frame=0&box=0") and (stored == table).all()
        assert store.add(video).added == 0
    with gallery(at("h")) as store:
        store.add(video)
        assert [row.time_us for row in store.rows(store.ids())[0]] == [None] * 3


def test_numbers_that_are_too_large_are_refused_and_large_cameras_are_searched(at: At) -> None:
    with gallery(at("g")) as store:
        for wrong in ({"cameras": [2**63]}, {"times": [1e300]}):
            with pytest.raises(ConfigError, match="64"):
                store.add(features([1]), **wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="64"):
            store.delete(id=2**63)
        with pytest.raises(ConfigError, match="64"):
            store.expire(2**70)
        store.add(features([1]), cameras=[2**40])
        assert [hit.row.camera for hit in store.search(feature(1), cameras=[2**40])] == [2**40]
        assert store.search(feature(1), cameras=[2**70], since=1e300) == []


def test_a_read_only_gallery_with_rows_in_its_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gallery(tmp_path / "g") as store:
        put(store, range(10))
        shutil.copytree(tmp_path / "g", tmp_path / "copy")
    honest = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and honest(path, mode))
    with pytest.raises(StorageError, match="wal"):
        open_gallery(tmp_path / "copy")


def test_files_are_for_their_owner_also_in_a_folder_that_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    folder.mkdir(mode=0o755)
    with gallery(folder) as store:
        put(store, range(10))
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(("version", "word"), [(1, "new gallery"), (99, "upgrade")])
def test_a_gallery_of_another_schema_is_refused_with_what_to_do(
    tmp_path: Path, version: int, word: str
) -> None:
    with gallery(tmp_path / "g") as store:
        put(store, range(3))
        store.store.files.db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StorageError, match=word):
        open_gallery(tmp_path / "g")


def test_a_file_that_cannot_be_opened_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with gallery(tmp_path / "g") as store:
        put(store, range(3))
        monkeypatch.setattr(Segments, "mapped", refuse)
        with pytest.raises(StorageError, match="Permission"):
            store.search(feature(0))


def test_every_damaged_row_is_counted(tmp_path: Path) -> None:
    with gallery(tmp_path / "g", segment_rows=512) as store:
        put(store, range(150))
        segment = next((tmp_path / "g").glob("*.f32"))
        segment.write_bytes(bytes(segment.stat().st_size))
        verified = store.verify()
        assert (verified.rows, verified.damaged, len(verified.problems)) == (150, 150, 100)


def test_an_image_is_deleted_by_a_relative_path_and_by_the_address_of_a_stream(
    tmp_path: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ("crops/a.png", "rtsp://camera/1#frame=0&box=0")
    with gallery(at("g")) as store:
        store.add(Features(features(range(2)), paths, np.array([1, 2]), np.array([0, 0]), SPACE.model))
        assert [store.delete(image=path) for path in paths] == [1, 1]
