"""Search of a gallery: equal to a brute force, with every filter; the index is a cache that never decides alone."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gallery.rows import DIM, contents, feature, features, gallery, put, row
from runtime.errors import ConfigError, DataError, DeviceError, GateError
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.calibrations import SITE, write_calibration
from runtime.gallery.lookup import building, faiss, indexed
from runtime.gallery.lookup.codes import read_codes
from runtime.gallery.lookup.exact import Block, nearest
from runtime.ranking.rerank import rerank
from runtime.ranking.site import SiteMeans
from tests.runtime.gallery.conftest import At

needs_faiss = pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed (extra index)")


def brute_force(numbers: list[int], query: np.ndarray, top: int) -> list[int]:
    return sorted(numbers, key=lambda n: 1 - float(feature(n) @ query))[:top]


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({}, lambda n: True),
        ({"cameras": [1]}, lambda n: n % 3 == 1),
        ({"cameras": [0, 2], "since": 100}, lambda n: n % 3 != 1 and n >= 100),
        ({"since": 50, "until": 60}, lambda n: 50 <= n < 60),
        ({"until": 3}, lambda n: n < 3),
        ({"cameras": [7]}, lambda n: False),
    ],
)
def test_a_search_equals_a_brute_force(at: At, filters: dict, keep) -> None:  # type: ignore[no-untyped-def, type-arg]
    numbers = [n for n in range(200) if keep(n)]
    with gallery(at("g"), segment_rows=37) as store:
        put(store, range(200))
        for query in (feature(5000), feature(70)):
            hits = store.search(query, top=8, **filters)
            expected = brute_force(numbers, query, 8)
            assert [hit.row for hit in hits] == [row(n) for n in expected]
            assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
            assert [hit.distance for hit in hits] == pytest.approx(
                [max(0, 1 - float(feature(n) @ query)) for n in expected], abs=1e-6
            )


def test_blocks_are_ranked_like_one_matrix() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(500, 8)).astype(np.float32)
    table[100:110] = table[300:310]
    query = random.normal(size=(70, 8)).astype(np.float32)
    rows = np.arange(500)
    whole = nearest([Block(table, rows, rows)], query, top=20)
    cuts = [0, 3, 140, 141, 399, 500]
    parts = [Block(table[a:b], rows[: b - a], rows[a:b]) for a, b in zip(cuts, cuts[1:])]
    split = nearest(parts, query, top=20)
    # products of another shape differ in the last bits, so only equal distances may change their order
    assert np.allclose(whole[1], split[1], atol=1e-5)
    assert (whole[0] == split[0]).mean() > 0.99
    expected = np.argsort(1 - query @ table.T, axis=1, kind="stable")[:, :20]
    assert (whole[0] == expected).mean() > 0.99


def test_another_process_sees_what_was_added_and_deleted(at: At) -> None:
    with gallery(at("g")) as one, gallery(at("g")) as other:
        put(one, range(50))
        assert len(other.search(feature(1), top=99)) == 50
        one.delete(camera=1)
        assert {hit.row.camera for hit in other.search(feature(1), top=99)} == {0, 2}
        one.compact()
        put(one, range(50, 60))
        assert len(other.search(feature(1), top=99)) == len(one.ids())


def test_re_ranking_orders_the_neighbourhood_of_one_query(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(60))
        query = feature(999)
        hits = store.search(query, top=60, rerank=True)
        near = brute_force(list(range(60)), query, 60)
        (far,) = rerank(query[None], features(near))
        expected = [near[place] for place in np.argsort(far[0], kind="stable")]
        assert [hit.row for hit in hits] == [row(n) for n in expected]
        assert [hit.row for hit in hits] != [row(n) for n in near]


def test_wrong_queries_are_refused(at: At) -> None:
    with gallery(at("g")) as store:
        assert store.search(feature(1)) == []
        with pytest.raises(DataError, match=str(DIM)):
            store.search(np.ones(5, np.float32))
        with pytest.raises(ConfigError):
            store.search(feature(1), top=0)


def people(store: Gallery, count: int, seed: int = 0) -> np.ndarray:
    """Add `count` features of people who have eight each, and return these features."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(count // 8, DIM))
    noisy = np.repeat(centres, 8, axis=0) + random.normal(size=(count, DIM)) * 0.25
    table = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    for start in range(0, count, 500):
        part = table[start : start + 500]
        store.add(
            part,
            persons=[n // 8 for n in range(start, start + len(part))],
            cameras=[n % 4 for n in range(len(part))],
            times=range(start, start + len(part)),
        )
    return table


@needs_faiss
def test_an_indexed_search_finds_what_the_exact_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "FEW_ROWS", 50)
    with gallery(tmp_path / "g", segment_rows=1000) as store:
        table = people(store, 2400)
        result = store.build_index(recall=0.9)
        assert result.judged == "person" and result.recall > 0.97 and result.hits > 1000
        assert (store.coverage().coded, store.coverage().rows) == (2400, 2400)
        for filters in ({}, {"cameras": [1, 2]}, {"since": 900, "until": 1700}, {"cameras": [9]}):
            exact = store.search(table[::50], top=5, **filters)  # type: ignore[arg-type]
            fast = store.search(table[::50], top=5, index=True, **filters)  # type: ignore[arg-type]
            ids = {(hit.query, hit.id): hit.distance for hit in exact}
            same = [hit for hit in fast if (hit.query, hit.id) in ids]
            assert len(same) >= 0.95 * len(exact)
            # the distances are those of the features, not of the codes
            assert all(hit.distance == pytest.approx(ids[hit.query, hit.id], abs=1e-6) for hit in same)
    with open_gallery(tmp_path / "g") as store:
        assert store.coverage().coded == 2400


@needs_faiss
def test_codes_of_changed_rows_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "FEW_ROWS", 50)
    folder = tmp_path / "g"
    with gallery(folder, segment_rows=1000) as store:
        table = people(store, 2400)
        store.build_index(recall=0.5)
        codes = sorted(folder.glob("*.codes"))
        assert len(codes) == 3
        old = codes[0].read_bytes()
        # a new row has no code, and is found
        other = -table[5]
        store.add(other[None])
        assert store.search(other, top=1, index=True)[0].distance == pytest.approx(0, abs=1e-6)
        assert store.coverage().coded == 2400 and store.coverage().rows == 2401
        # a deletion removes the codes of its segment only
        store.delete(person=3)
        assert sorted(folder.glob("*.codes")) == codes[1:]
        assert store.coverage().coded == 1400
        assert not [hit for hit in store.search(table[24], top=20, index=True) if hit.row.person == "3"]
        # codes of earlier rows, damaged codes and other files are ignored
        codes[0].write_bytes(old)
        codes[1].write_bytes(codes[1].read_bytes()[:-1] + b"?")
        codes[2].write_bytes(b"no codes")
    with open_gallery(folder) as store:
        assert store.coverage().coded == 0
        hits = store.search(table[100], top=3, index=True)
        assert hits[0].distance == pytest.approx(0, abs=1e-6)
        store.build_index(recall=0.5)
        assert store.coverage().coded == store.coverage().rows
        store.compact()
        assert store.coverage().coded == 0 and not list(folder.glob("*.codes"))


@needs_faiss
def test_an_index_that_loses_people_is_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.gallery.lookup import faiss

    honest = faiss.nearest
    monkeypatch.setattr(indexed, "FEW_ROWS", 50)
    folder = tmp_path / "g"
    with gallery(folder, segment_rows=1000) as store:
        people(store, 1200)
        store.build_index()
        monkeypatch.setattr(faiss, "nearest", lambda index, query, count: honest(index, -query, count))
        with pytest.raises(GateError) as caught:
            store.build_index()
        assert caught.value.code == 7
        assert not list(folder.glob("*.codes")) and store.coverage().coded == 0


@needs_faiss
def test_without_people_the_index_is_judged_by_tracks_or_by_all_hits(tmp_path: Path) -> None:
    random = np.random.default_rng(0).normal(size=(300, DIM)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    with gallery(tmp_path / "a", segment_rows=1000) as store:
        store.add(random)
        assert store.build_index(recall=0).judged == "all"
    with gallery(tmp_path / "b", segment_rows=1000) as store:
        store.add(random, cameras=[0] * 300, tracks=[n // 3 for n in range(300)])
        assert store.build_index(recall=0).judged == "track"
    with gallery(tmp_path / "c") as store, pytest.raises(DataError, match="empty"):
        store.build_index()


@needs_faiss
def test_codes_leave_nothing_of_deleted_rows(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with gallery(folder, segment_rows=1000) as store:
        people(store, 800)
        store.build_index(recall=0)
        found = read_codes(next(folder.glob("*.codes")), faiss.version())
        assert found is not None and found[2] in contents(folder)
        store.delete(person=1)
        assert found[2][-200:] not in contents(folder)


def test_without_faiss_an_index_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with gallery(tmp_path / "g") as store:
        put(store, range(10))
        with pytest.raises(DeviceError, match="index"):
            store.build_index()
        assert len(store.search(feature(1))) == 10


@needs_faiss
def test_a_filter_that_leaves_only_far_rows_loses_no_hits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codes know no filters: the nearest rows by code are all of the other camera."""
    monkeypatch.setattr(indexed, "FEW_ROWS", 50)
    random = np.random.default_rng(0)
    table = random.normal(size=(1000, DIM)) * 0.1 + np.where(np.arange(1000) % 2, 1, -1)[:, None]
    table = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
    with gallery(tmp_path / "g", segment_rows=1000) as store:
        store.add(table, cameras=[n % 2 for n in range(1000)], tracks=[n // 4 for n in range(1000)])
        store.build_index(recall=0)
        for query in (table[:1], table[:2]):
            for how in ({"cameras": [1]}, {"cameras": [0, 1], "top": 10**9}):
                exact = store.search(query, **how)  # type: ignore[arg-type]
                fast = store.search(query, index=True, **how)  # type: ignore[arg-type]
                assert [(hit.query, hit.rank) for hit in fast] == [(hit.query, hit.rank) for hit in exact]
                assert {(hit.query, hit.id) for hit in fast} == {(hit.query, hit.id) for hit in exact}


@needs_faiss
def test_codes_that_were_made_in_vain_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = building.measure_recall
    with gallery(tmp_path / "g", segment_rows=80) as store:
        people(store, 80)

        def disturbed(*words: Any, **how: Any) -> Any:
            put(store, [5000])
            return honest(*words, **how)

        with monkeypatch.context() as patch:
            patch.setattr(building, "measure_recall", disturbed)
            with pytest.raises(DataError, match="again"):
                store.build_index(recall=0)
        store.build_index(recall=0)
    with open_gallery(tmp_path / "g") as store:
        assert (store.coverage().coded, store.coverage().rows) == (81, 81)


@pytest.mark.parametrize("index", [False, pytest.param(True, marks=needs_faiss)])
def test_threads_that_search_while_rows_change_get_rows_with_their_own_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: bool
) -> None:
    monkeypatch.setattr(indexed, "FEW_ROWS", 10)
    monkeypatch.setattr(indexed, "CANDIDATES", 40)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with gallery(tmp_path / "g", segment_rows=64) as store, ThreadPoolExecutor(4) as pool:
            put(store, range(300))
            means = SiteMeans((0, 1, 2), features(range(3)) * 0.3, (25, 25, 25))
            write_calibration(store.store, SITE, means.to_json())
            if index:
                store.build_index(recall=0)

            def look(number: int) -> bool:
                query = means.apply(features([number]), np.array([-1]))[0]
                for hit in store.search(feature(number), top=5, index=index):
                    # the row's path tells its number
                    own = feature(int(hit.row.path[7:13]))[None]
                    far = 1 - float(means.apply(own, np.array([hit.row.camera]))[0] @ query)
                    if abs(far - hit.distance) > 1e-5:
                        return False
                return True

            done = [pool.submit(look, number) for number in range(7000, 7100)]
            for start in range(300, 350):
                put(store, [start])
                store.delete(id=start - 299)
            assert all(one.result() for one in done)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("dim", [24, 1500])
def test_a_rotation_keeps_the_inner_products_and_spreads_the_variation(dim: int) -> None:
    random = np.random.default_rng(0)
    # nearly all variation is in a few numbers, as in the features of a ViT
    table = (random.normal(size=(400, dim)) * np.geomspace(1, 1e-4, dim)).astype(np.float32)
    turned = faiss.rotated(table)
    assert turned.shape == table.shape and turned @ turned.T == pytest.approx(
        table @ table.T, rel=1e-5, abs=1e-4
    )
    share = turned.var(axis=0) / turned.var(axis=0).sum()
    assert share.max() < 0.5 * (table.var(axis=0) / table.var(axis=0).sum()).max()


def test_the_rotation_is_that_of_the_codes_in_files() -> None:
    # if these numbers must change, raise faiss.ROTATION: the files of codes were made with them
    expected = [[0.0117, -0.5671, 0.8236], [-0.4440, 0.7351, 0.5124], [0.8960, 0.3716, 0.2432]]
    assert faiss.ROTATION == 2
    assert faiss.rotated(np.eye(3, dtype=np.float32)) == pytest.approx(np.array(expected), abs=1e-4)


@needs_faiss
def test_codes_find_the_nearest_rows_of_features_that_vary_in_few_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = (random.normal(size=(4000, DIM)) * np.geomspace(1, 1e-3, DIM)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    data = faiss.load(faiss.encode(table))
    exact = np.argsort(1 - table[:50] @ table.T, axis=1, kind="stable")[:, :10]
    found = faiss.nearest(data, table[:50], 200)
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist())])
    assert share > 0.9
