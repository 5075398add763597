"""What is special about a gallery on a PostgreSQL server: addresses, rights, migrations, kills, lost connections and the index."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gallery.postgres.database import Database
from benchmarks.gallery.postgres.database import database as started
from benchmarks.gallery.postgres.kills import CLIENT, SERVER, kill_clients_or_server
from benchmarks.gallery.rows import DIM, SPACE, feature, features, gallery, put, row
from runtime.errors import ArtifactError, ConfigError, DataError, DeviceError, GateError, StorageError
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.calibrations import OFF, SITE, THRESHOLD, write_calibration
from runtime.gallery.migrating import migrate
from runtime.gallery.postgres import driver, erasing, schema, searching
from runtime.gallery.postgres.server import Server
from runtime.gallery.space import Space
from runtime.options.store_place import ServerAddress, StorePlace, store_place, without_password
from runtime.ranking.site import SiteMeans
from tests.runtime.gallery.conftest import At, Run, needs_server
from tests.runtime.gallery.test_search import people
from tests.runtime.gallery.test_store import check

ROOT = Path(__file__).resolve().parents[3]
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://reid:{SECRET}@db/gallery", "postgresql://reid@db/gallery"),
        (
            f"postgresql://reid:{SECRET}/@:?x@db:5432/g?sslmode=require",
            "postgresql://reid@db:5432/g?sslmode=require",
        ),
        (f"postgres://db/g?user=reid&password={SECRET}", "postgres://db/g?user=reid"),
        (f"postgresql://db/g?PASSWORD={SECRET}&sslpassword={SECRET}", "postgresql://db/g"),
        (f"postgresql://db/g?password={SECRET}&user=a@b", "postgresql://db/g?user=a@b"),
        ("postgresql:///g", "postgresql:///g"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    place = store_place(url)
    assert isinstance(place, ServerAddress) and place.url == url
    assert str(place) == f"{place}" == without_password(url) == shown and SECRET not in repr(place)


def test_a_folder_is_no_address_and_an_address_is_no_path() -> None:
    assert store_place("postgresql.gallery") == Path("postgresql.gallery")
    with pytest.raises(ConfigError, match="text"):
        open_gallery(Path("postgresql://db/g"))


@needs_server
@pytest.mark.parametrize(
    ("url", "code"),
    [
        (f"postgresql://reid:{SECRET}@127.0.0.1:1/g", 6),
        (f"postgresql://reid:{SECRET}@127.0.0.1:none/g", 2),
        (f"postgresql://reid:{SECRET}%zz@127.0.0.1/g", 2),
        (f"postgresql://127.0.0.1:1/g?user=reid&password={SECRET}", 6),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(
    run: Run, url: str, code: int
) -> None:
    for words in (["info"], ["search", "m.onnx", "q.png"], ["verify"]):
        got, result, err = run("gallery", *words, "--store", url, "--json")
        assert got == code and result is None and SECRET not in err
        assert len(err.strip().splitlines()) == 1 and "127.0.0.1" in err


@needs_server
def test_a_database_that_is_missing_is_named_with_what_to_do(server: Database) -> None:
    address = ServerAddress(server.address().url.replace("/postgres?", "/none?"))
    with pytest.raises(StorageError, match="createdb"):
        open_gallery(address)
    with pytest.raises(StorageError, match="CREATE SCHEMA"):
        open_gallery(ServerAddress(server.address("nowhere").url.replace("%2Cpublic", "")))


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DeviceError, match="postgres") as caught:
        open_gallery("postgresql://127.0.0.1:1/g")
    assert caught.value.code == 5


@needs_server
def test_an_earlier_schema_is_migrated_and_a_later_one_refused(
    on_server: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gallery(on_server("g")) as store:
        put(store, range(20))
    more = (*schema.MIGRATIONS, "ALTER TABLE reid_image ADD COLUMN note text")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", more)
        with open_gallery(on_server("g")) as store:
            check(store, set(range(20)))
            assert execute(store, "SELECT note FROM reid_image LIMIT 1") == [(None,)]
            assert execute(store, "SELECT version FROM reid_version ORDER BY version") == [(1,), (2,)]
    with pytest.raises(StorageError, match="schema 2.*upgrade") as caught:
        open_gallery(on_server("g"))
    assert caught.value.code == 6


@needs_server
def test_a_migration_that_fails_changes_nothing(on_server: At, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery(on_server("g")).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE half (x int); SELECT 1 / 0"))
        with pytest.raises((StorageError, DataError)):
            open_gallery(on_server("g"))
    with open_gallery(on_server("g")) as store:
        assert execute(store, "SELECT max(version) FROM reid_version") == [(1,)]
        assert execute(store, "SELECT count(*) FROM pg_tables WHERE tablename = 'half'") == [(0,)]


def execute(store: Gallery, statement: str) -> list[Any]:
    with store.store.server.direct() as db:  # type: ignore[attr-defined]
        cursor = db.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@needs_server
def test_a_damaged_row_is_an_error_and_deleting_it_mends_the_gallery(on_server: At) -> None:
    with gallery(on_server("g")) as store:
        put(store, range(10))
        execute(store, "UPDATE reid_image SET camera = 7 WHERE id = 3")
        assert store.verify().problems == ("row 3: does not fit its checksum",)
        with pytest.raises(StorageError, match="row 3.*verify"):
            store.search(feature(2))
        assert store.delete(id=3) == 1
        check(store, set(range(10)) - {2})


@contextmanager
def role(server: Database, place: StorePlace, user: str) -> Iterator[str]:
    """Create a user without rights, and yield the name of the schema of the gallery at `place`."""
    assert isinstance(place, ServerAddress)
    with server.connected() as db:
        db.execute(f"DROP ROLE IF EXISTS {user}")
        db.execute(f"CREATE ROLE {user} LOGIN")
    try:
        yield place.url.rpartition("%3D")[2].partition("%2C")[0]
    finally:
        with server.connected() as db:
            db.execute(f"DROP OWNED BY {user} CASCADE")
            db.execute(f"DROP ROLE {user}")


@needs_server
def test_a_user_without_rights_is_refused_before_anything_is_deleted(
    server: Database, on_server: At, capsys: pytest.CaptureFixture[str]
) -> None:
    with role(server, on_server("g"), "weak") as name:
        with server.connected() as db:
            db.execute(f'GRANT ALL ON SCHEMA "{name}" TO weak')
        with gallery(server.address(name, user="weak")) as store:
            put(store, range(10))
            with pytest.raises(StorageError, match="GRANT pg_checkpoint"):
                store.delete(id=1)
            assert len(store) == 10
        with server.connected() as db:
            db.execute("GRANT pg_checkpoint TO weak")
        capsys.readouterr()
        with open_gallery(server.address(name, user="weak")) as store:
            assert store.delete(id=1) == 1 and len(store) == 9
            # the log keeps the bytes for some time, which is said
            assert "pg_switch_wal" in capsys.readouterr().err
            with server.connected() as db:
                db.execute("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO weak")
            assert store.delete(id=2) == 1 and not capsys.readouterr().err
        with server.connected() as db:
            db.execute(f'REVOKE INSERT ON "{name}".reid_image FROM weak')
        with open_gallery(server.address(name, user="weak")) as store:
            assert not store.store.writable and len(store.search(feature(3), top=20)) == 8
            with pytest.raises(StorageError, match="primary"):
                put(store, [50])


@needs_server
def test_a_user_who_may_not_delete_adds_while_a_deletion_is_unfinished(
    server: Database, on_server: At, capsys: pytest.CaptureFixture[str]
) -> None:
    place = on_server("g")
    with gallery(place) as store:
        put(store, range(10))
        execute(store, "UPDATE reid_store SET wiping = true")
    with role(server, place, "guest") as name:
        with server.connected() as db:
            # those of docs/scale.md
            db.execute(f'GRANT USAGE ON SCHEMA "{name}" TO guest')
            db.execute(f'GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA "{name}" TO guest')
            db.execute(f'GRANT UPDATE ON "{name}".reid_store TO guest')
        with open_gallery(server.address(name, user="guest")) as store:
            put(store, [50])
            printed = capsys.readouterr().err
            assert "only the owner" in printed and "gallery compact" in printed and len(store) == 11
            with pytest.raises(StorageError, match="only the owner"):
                store.delete(id=1)
            assert len(store) == 11
        with open_gallery(place) as store:
            store.compact()
            assert execute(store, "SELECT wiping FROM reid_store") == [(False,)]


@needs_server
def test_a_transaction_that_still_sees_deleted_rows_is_named(
    server: Database, on_server: At, capsys: pytest.CaptureFixture[str]
) -> None:
    with gallery(on_server("g")) as store, server.connected() as other:
        put(store, range(30))
        other.autocommit = False
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        with pytest.raises(StorageError, match="10 of them.*compact"):
            store.delete(camera=1)
        assert len(store) == 20
        # whoever adds meanwhile is told, and adds
        with gallery(on_server("g")) as second:
            put(second, [41])
        assert "still unfinished" in capsys.readouterr().err
        other.rollback()
        # the next client that adds finishes it
        with gallery(on_server("g")) as next_one:
            put(next_one, [40])
        assert execute(store, "SELECT wiping FROM reid_store") == [(False,)]
        check(store, {n for n in range(30) if n % 3 != 1} | {40, 41})


@needs_server
def test_clients_that_delete_at_once_wait_for_each_other(on_server: At) -> None:
    place, deleted = on_server("g"), dict[int, int]()
    with gallery(place) as store:
        put(store, range(30))

        def delete(camera: int) -> None:
            with gallery(place) as client:
                deleted[camera] = client.delete(camera=camera)

        threads = [threading.Thread(target=delete, args=(camera,)) for camera in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert deleted == {0: 10, 1: 10, 2: 10} and len(store) == 0
        assert execute(store, "SELECT wiping FROM reid_store") == [(False,)]


@needs_server
def test_a_deletion_that_another_client_finishes_is_not_finished_again(
    server: Database, on_server: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    honest = erasing._is_unfinished

    def noticed(connection: Server) -> bool:
        unfinished = honest(connection)
        asked.set()
        return unfinished

    def rewrite(connection: Server) -> None:
        raise AssertionError("the other client has done this")

    with gallery(on_server("g")) as store, server.connected() as other:
        other.execute("SELECT pg_advisory_lock(%s)", (erasing.WIPING,))
        execute(store, "UPDATE reid_store SET wiping = true")
        monkeypatch.setattr(erasing, "_is_unfinished", noticed)
        monkeypatch.setattr(erasing, "_rewritten", rewrite)
        thread = threading.Thread(target=put, args=(store, [40]))
        thread.start()
        assert asked.wait(30)
        with gallery(on_server("g")) as second:
            assert len(second) == 0
            execute(second, "UPDATE reid_store SET wiping = false")
        other.execute("SELECT pg_advisory_unlock(%s)", (erasing.WIPING,))
        thread.join()
        check(store, {40})


@needs_server
@pytest.mark.parametrize("with_site", [False, True])
def test_few_and_many_queries_and_a_folder_give_the_same_hits(
    tmp_path: Path, on_server: At, with_site: bool
) -> None:
    means = SiteMeans((0, 2), features([70, 71]) * 0.3, (25, 25))
    found = []
    for place in (tmp_path / "g", on_server("g")):
        with gallery(place) as store:
            put(store, range(200))
            store.add(features([500]))
            if with_site:
                write_calibration(store.store, SITE, means.to_json())
            queries = features(range(1000, 1000 + 2 * searching.FEW))
            cameras = [n % 4 if n % 5 else None for n in range(len(queries))]
            many = store.search(queries, top=5, query_cameras=cameras, since=20)
            few = [
                replace(hit, query=number)
                for number, query in enumerate(queries)
                for hit in store.search(query, top=5, query_cameras=[cameras[number]], since=20)
            ]
            assert [(hit.query, hit.id) for hit in many] == [(hit.query, hit.id) for hit in few]
            found.append(many)
    assert [(hit.query, hit.rank, hit.row) for hit in found[0]] == [
        (hit.query, hit.rank, hit.row) for hit in found[1]
    ]
    assert [hit.distance for hit in found[0]] == pytest.approx([hit.distance for hit in found[1]], abs=1e-6)


@needs_server
@pytest.mark.parametrize("dim", [DIM, 2001])
def test_an_index_finds_the_same_people_also_with_filters_and_a_deletion_drops_it(
    on_server: At, dim: int
) -> None:
    count = 800 if dim == DIM else 160
    with open_gallery(on_server("g"), space=Space("a" * 64, dim, "none")) as store:
        table = of_people(store, count, dim)
        assert store.coverage().coded == 0
        result = store.build_index(recall=0.9)
        assert result.judged == "person" and result.recall > 0.97
        assert (store.coverage().coded, store.coverage().rows) == (count, count)
        for filters in ({}, {"cameras": [1, 2]}, {"since": 50, "until": 90}, {"cameras": [9]}):
            exact = store.search(table[::20], top=3, **filters)  # type: ignore[arg-type]
            fast = store.search(table[::20], top=3, index=True, **filters)  # type: ignore[arg-type]
            ids = {(hit.query, hit.id): hit.distance for hit in exact}
            same = [hit for hit in fast if (hit.query, hit.id) in ids]
            assert len(fast) == len(exact) and len(same) >= 0.95 * len(exact)
            # the distances are those of the 32-bit features
            assert all(hit.distance == pytest.approx(ids[hit.query, hit.id], abs=1e-6) for hit in same)
        other = -table[:1]
        store.add(other)
        assert store.search(other, top=1, index=True)[0].distance == pytest.approx(0, abs=1e-6)
        store.delete(person=3)
        assert store.coverage().coded == 0
        assert store.search(other, top=1, index=True)[0].distance == pytest.approx(0, abs=1e-6)


def of_people(store: Gallery, count: int, dim: int) -> np.ndarray:
    if dim == DIM:
        return people(store, count)
    random = np.random.default_rng(0)
    table = (
        np.repeat(random.normal(size=(count // 8, dim)), 8, axis=0) + random.normal(size=(count, dim)) * 0.5
    )
    table = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
    store.add(
        table,
        persons=[n // 8 for n in range(count)],
        cameras=[n % 4 for n in range(count)],
        times=range(count),
    )
    return table


@needs_server
def test_an_index_that_loses_people_is_refused_and_dropped(
    on_server: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = searching.by_index
    with gallery(on_server("g")) as store:
        with pytest.raises(DataError, match="empty"):
            store.build_index()
        people(store, 400)
        opposite = lambda db, server, query, *how: honest(db, server, negative(query), *how)  # noqa: E731
        monkeypatch.setattr(searching, "by_index", opposite)
        with pytest.raises(GateError) as caught:
            store.build_index()
        assert caught.value.code == 7 and store.coverage().coded == 0
        assert execute(store, f"SELECT count(*) FROM pg_class WHERE relname = '{erasing.INDEX}'") == [(0,)]


def negative(query: driver.Feature) -> driver.Feature:
    return driver.feature_bytes(-driver.feature_of(query)[None])[0]


@needs_server
def test_what_pgvector_can_index_is_what_the_code_says(server: Database) -> None:
    import psycopg

    with server.connected() as db:
        for kind, widest in (("vector", searching.SINGLE), ("halfvec", searching.HALF)):
            for dim, works in ((widest, True), (widest + 1, False)):
                db.execute(f"CREATE TEMPORARY TABLE wide (f vector({dim}))")
                build = f"CREATE INDEX ON wide USING hnsw ((f::{kind}({dim})) {kind}_ip_ops)"
                if works:
                    db.execute(build)
                else:
                    with pytest.raises(psycopg.Error, match=str(widest)):
                        db.execute(build)
                db.execute("DROP TABLE wide")
        with pytest.raises(psycopg.Error, match=str(schema.WIDEST)):
            db.execute(f"CREATE TEMPORARY TABLE wide (f vector({schema.WIDEST + 1}))")


@needs_server
def test_features_that_are_too_wide_for_an_index_are_stored_and_searched(on_server: At) -> None:
    random = np.random.default_rng(0).normal(size=(20, searching.HALF + 1)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    with open_gallery(on_server("g"), space=Space("a" * 64, searching.HALF + 1, "none")) as store:
        store.add(random)
        assert (store.rows(store.ids())[1].view(np.uint32) == random.view(np.uint32)).all()
        assert store.search(random[7], top=1)[0].id == 8
        with pytest.raises(DataError, match="without the index"):
            store.build_index()


def full(place: StorePlace) -> None:
    """Fill a gallery with odd names, thumbnails, and several calibrations with crops."""
    with gallery(place) as store:
        numbers = range(40)
        store.add_rows(
            [row(n) for n in numbers], features(numbers), [f"jpeg {n}".encode() * (n % 2) for n in numbers]
        )
        odd = replace(
            row(50), track="Bahnhof Süd", person="Zoë\n'; --", path=os.fsdecode(b"/x/\xff.png"), camera=None
        )
        store.add_rows([odd, replace(row(0), source="again", time_us=None)], features([50, 0]))
        store.delete(id=4)
        crop = ("3", None, bytes(32), feature(3).tobytes(), b"image of a person")
        for number in range(3):
            write_calibration(store.store, THRESHOLD, {OFF: True, "number": number}, [crop] * number)


def whole(place: StorePlace) -> list[Any]:
    with open_gallery(place) as store:
        ids = store.ids()
        rows, values = store.rows(ids)
        calibrations = store.store.calibrations(newest=False)
        assert store.verify().problems == ()
        return [
            store.space,
            rows,
            values.tobytes(),
            [store.thumbnail(number) for number in ids],
            calibrations,
            [store.store.crops(record.id) for record in calibrations],
        ]


@needs_server
def test_a_gallery_migrates_to_a_server_and_back_to_the_bit(run: Run, tmp_path: Path, on_server: At) -> None:
    full(tmp_path / "g")
    place = on_server("g")
    code, result, _ = run("gallery", "migrate", tmp_path / "g", place, "--json")
    assert code == 0 and (result["rows"], result["added"], result["calibrations"]) == (41, 41, 3)
    code, result, _ = run("gallery", "migrate", tmp_path / "g", place, "--json")
    assert code == 0 and (result["rows"], result["added"], result["calibrations"]) == (41, 0, 0)
    assert run("gallery", "migrate", place, tmp_path / "back", "--json")[0] == 0
    assert whole(tmp_path / "g") == whole(place) == whole(tmp_path / "back")


@needs_server
def test_a_migration_resumes_and_never_mixes_two_galleries(
    tmp_path: Path, on_server: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(tmp_path / "g")
    place = on_server("g")
    monkeypatch.setattr("runtime.gallery.migrating.BLOCK", 8)
    steps: list[int] = []

    def stop(rows: int) -> None:
        steps.append(rows)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(tmp_path / "g", place, progress=stop)
    assert migrate(tmp_path / "g", place).added == 41 - 24
    assert whole(tmp_path / "g") == whole(place)
    with open_gallery(place) as store:
        store.set_person(store.ids()[5], "somebody else")
    with pytest.raises(DataError, match="other labels"):
        migrate(tmp_path / "g", place)
    with gallery(tmp_path / "h") as store:
        write_calibration(store.store, THRESHOLD, {OFF: True, "number": 7})
    with pytest.raises(DataError, match="other calibrations"):
        migrate(tmp_path / "h", place)
    with open_gallery(tmp_path / "i", space=Space("b" * 64, DIM, "none")) as store:
        put(store, [1])
    with pytest.raises(ArtifactError):
        migrate(tmp_path / "i", place)


@needs_server
def test_a_lost_connection_is_one_line_and_the_next_call_connects_again(
    server: Database, on_server: At
) -> None:
    with gallery(on_server("g")) as store:
        put(store, range(10))
        with server.connected() as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reid-gallery'"
            )
        with pytest.raises(StorageError, match="same command again") as caught:
            put(store, range(10, 20))
        assert caught.value.code == 6 and "\n" not in str(caught.value)
        put(store, range(10, 20))
        check(store, set(range(20)))


@needs_server
def test_a_connection_that_is_lost_in_the_middle_of_an_add_leaves_nothing_of_it(
    server: Database, on_server: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.gallery.postgres import writing

    honest = writing.feature_bytes

    def cut(table: np.ndarray) -> list[driver.Feature]:
        with server.connected() as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reid-gallery'"
            )
        return honest(table)

    with gallery(on_server("g")) as store:
        put(store, range(10))
        monkeypatch.setattr(writing, "feature_bytes", cut)
        with pytest.raises(StorageError, match="same command again"):
            put(store, range(10, 400))
        monkeypatch.undo()
        check(store, set(range(10)))


WAITING = """
import sys
from benchmarks.gallery.rows import gallery, put
from runtime.options.store_place import store_place
with gallery(store_place(sys.argv[1])) as store:
    print("ready", flush=True)
    for start in range(0, 100_000, 20):
        put(store, range(start, start + 20))
        print(start + 20, flush=True)
"""


@needs_server
def test_a_signal_ends_a_client_after_its_batch(on_server: At) -> None:
    place = on_server("g")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(place)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    done = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    last = int((process.communicate()[0].split() or [done[-1]])[-1])
    with open_gallery(place) as store:
        # every batch that was reported is there, and at most one more
        assert len(store) in (last, last + 20)
        check(store, set(range(len(store))))


@needs_server
@pytest.mark.parametrize("struck", [CLIENT, SERVER])
def test_kills_lose_nothing_and_leave_nothing(tmp_path: Path, struck: str) -> None:
    with started(settings={"fsync": "off"}) as own:
        result, _ = kill_clients_or_server(own, tmp_path, 4, struck=struck, seed=1)
    found = vars(result.findings).copy()
    assert found.pop("rows") > 10 and set(found.values()) == {0}
    assert result.kills == 4 and result.acknowledged > 1 and result.erased_found == 0


@needs_server
def test_threads_share_one_gallery(on_server: At) -> None:
    errors: list[BaseException] = []
    with gallery(on_server("g")) as store:
        put(store, range(100))

        def look(number: int) -> None:
            try:
                for n in range(number, number + 10):
                    assert store.search(feature(n), top=1)[0].row == row(n)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=look, args=(10 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        put(store, range(100, 130))
        for thread in threads:
            thread.join()
        assert not errors and len(store) == 130 and store.space == SPACE
