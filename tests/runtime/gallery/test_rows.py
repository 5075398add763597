"""Rows by their labels, and changing the person of a row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.gallery.rows import contents, feature, gallery, put, row
from runtime.errors import DataError
from runtime.gallery.api import open_gallery
from runtime.gallery.lookup.filters import Filters
from tests.runtime.gallery.conftest import At


def test_rows_are_listed_page_by_page_with_filters(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(60))
        whole = store.ids()
        pages, after = [], 0
        while page := store.ids(after=after, limit=7):
            pages.append(page)
            after = page[-1]
        assert [number for page in pages for number in page] == whole and {*map(len, pages)} == {7, 4}
        chosen = store.ids(Filters(cameras=(1,)), person="person-3", after=whole[9])
        expected = [row(n) for n in range(10, 60) if n % 3 == 1 and n % 7 == 3]
        assert store.rows(chosen)[0] == expected
        assert store.count(Filters(cameras=(1,))) == 20 and store.ids(person="nobody") == []


@pytest.mark.parametrize("name", ["Ä. Nother", 12, None])
def test_a_changed_person_is_on_the_disk_and_deletable(at: At, name: object) -> None:
    with gallery(at("g")) as store, gallery(at("g")) as other:
        put(store, range(10))
        (number,) = [id for id, one in zip(store.ids(), store.rows(store.ids())[0]) if one == row(4)]
        assert other.search(feature(4), top=1)[0].row == row(4)
        text = None if name is None else str(name)
        assert store.set_person(number, name) == replace(row(4), person=text)
        # an open reader sees it, with the feature as it was
        (hit,) = other.search(feature(4), top=1)
        assert (hit.id, hit.row.person, hit.distance) == (number, text, pytest.approx(0, abs=1e-6))
    with open_gallery(at("g")) as store:
        assert store.verify().problems == () and store.rows([number])[0][0].person == text
        assert store.delete(person="person-4") == 0
        if name is not None:
            assert store.delete(person=name) == 1
            assert str(name).encode() not in contents(at("g")) or name == 12
        with pytest.raises(DataError, match="no row"):
            store.set_person(10**6, "x")


def test_the_person_of_several_rows_changes_for_all_or_none(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(10))
        ids = store.ids()
        assert [one.person for one in store.set_persons(ids[2:5], "x")] == ["x"] * 3
        assert store.ids(person="x") == ids[2:5] and store.verify().problems == ()
        with pytest.raises(DataError, match="no row"):
            store.set_persons([*ids[:2], 10**6], "y")
        assert store.ids(person="y") == []


def test_an_earlier_name_is_erased_by_the_next_deletion(at: At) -> None:
    with gallery(at("g")) as store:
        put(store, range(200))
        for number in store.ids()[:50]:
            store.set_person(number, f"secret name {number}")
        for number in store.ids()[:50]:
            store.set_person(number, None)
        store.delete(id=store.ids()[-1])
    assert b"secret name" not in contents(at("g"))
