"""A gallery survives kills and failing disks. The checks run before anything repairs the gallery."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.gallery.rows import contents, feature, features, gallery, put, row
from runtime.errors import StorageError
from runtime.gallery.api import open_gallery
from runtime.gallery.store import schema
from tests.runtime.gallery.conftest import At

ROOT = Path(__file__).resolve().parents[3]


def measured(*words: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gallery", *words, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    documents: list[dict[str, object]] = json.loads(done.stdout)["results"]
    return documents


def test_two_hundred_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    (result,) = measured("kills", "--count", "200", "--at", str(tmp_path))
    assert result["kills"] == 200 and result["acknowledged"] > 20  # type: ignore[operator]
    during = result["during"]
    assert isinstance(during, dict) and len({"add", "delete", "compact"} & set(during)) == 3
    findings = result["findings"]
    assert isinstance(findings, dict) and findings.pop("rows") > 1000
    assert set(findings.values()) == {0}
    assert result["erased_sought"] > 1000 and result["erased_found"] == 0  # type: ignore[operator]


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"),
    reason="failing system calls need Linux and a C compiler",
)
def test_failing_system_calls_corrupt_nothing(tmp_path: Path) -> None:
    results = measured("faults", "--every", "9", "--at", str(tmp_path))
    assert [result["kind"] for result in results] == ["add", "delete", "expire", "compact", "merge"]
    for result in results:
        assert result["calls"] >= 3 and result["refused"] >= 2, result  # type: ignore[operator]
        findings = result["findings"]
        assert isinstance(findings, dict) and findings.pop("rows") > 100
        assert set(findings.values()) == {0}
        assert (result["crashed"], result["not_repeated"], result["erased_found"]) == (0, 0, 0)


def test_a_full_disk_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    gallery(folder, segment_rows=4096).close()
    # a file may not grow beyond this: the calls fail as on a full disk
    limit = 600_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    acknowledged: list[int] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with gallery(folder) as store:
            with pytest.raises(StorageError) as caught:
                for start in range(0, 100_000, 50):
                    put(store, range(start, start + 50))
                    acknowledged += range(start, start + 50)
            assert caught.value.code == 6
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(acknowledged) > 200
    with open_gallery(folder) as store:
        rows, stored = store.rows(store.ids())
        assert rows == [row(n) for n in acknowledged] and (stored == features(acknowledged)).all()
        assert store.verify().problems == ()
        put(store, [999_999])
        assert store.search(feature(999_999), top=1)[0].row == row(999_999)


WRITER = """
import sys
from benchmarks.gallery.rows import gallery, put
from runtime.options.store_place import store_place
with gallery(store_place(sys.argv[1])) as store:
    for start in range(int(sys.argv[2]), int(sys.argv[2]) + 200, 20):
        put(store, range(start, start + 20))
"""


def test_several_processes_write_and_every_row_is_there_once(at: At) -> None:
    folder = at("g")
    starts = [0, 100, 1000, 2000]
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(start)], cwd=ROOT)
        for start in starts
    ]
    assert [process.wait() for process in processes] == [0] * 4
    expected = {row(n).sha256 for start in starts for n in range(start, start + 200)}
    with open_gallery(folder) as store:
        rows, _ = store.rows(store.ids())
        assert len(rows) == len(expected) and {one.sha256 for one in rows} == expected
        assert store.verify().problems == ()


def test_a_gallery_that_is_being_created_is_not_taken_for_a_file_of_another_program(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        creator, watcher = (schema.connect(folder, writable=True) for _ in range(2))
        with ThreadPoolExecutor(1) as pool:
            created = pool.submit(schema.create_tables, creator, "{}", 10)
            while schema.is_empty(watcher, folder):
                assert not created.done() or created.exception() is None
        creator.close()
        watcher.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        gallery(tmp_path / "g")


def test_a_kill_between_the_deletion_and_the_wiping_is_made_good(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with gallery(folder) as store:
        put(store, range(40))
        gone = [n for n in range(40) if n % 3 == 1]
        store.store.files.db.execute("BEGIN")
        store.store.files.db.execute("INSERT INTO wipe SELECT slot FROM image WHERE camera = 1")
        store.store.files.db.execute("DELETE FROM image WHERE camera = 1")
        store.store.files.db.execute("COMMIT")
        assert all(feature(n).tobytes() in contents(folder) for n in gone)
        put(store, [50])
        assert not any(feature(n).tobytes() in contents(folder) for n in gone)
        assert len(store) == 40 - len(gone) + 1
