"""JSON of another machine: what fits is read, what does not is named by its place."""

import json

import pytest

from benchmarks.foreign_json import COUNT, NUMBER, PART, POSITIVE, TEXT, YES_NO, Maybe, misfit, read_json

SHAPE = {
    "name": TEXT,
    "rows": [{"count": COUNT, "part": Maybe(PART), "on": Maybe(YES_NO)}],
    "at": Maybe([NUMBER]),
}
FITS = {
    "name": "x",
    "rows": [{"count": 3, "part": 0.5, "free": {}}, {"count": 1}],
    "at": [-1, 2.5],
    "other": None,
}


def test_what_fits_is_read_with_members_that_nobody_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(FITS))
    assert read_json(tmp_path / "a.json", SHAPE) == FITS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": None}, "document.name is not a text"),
        ({"rows": None}, "document.rows is no list"),
        ({"rows": "text"}, "document.rows is no list"),
        ({"rows": [3]}, "document.rows[0] is no object"),
        ({"rows": [{"count": 1}, {"count": 0}]}, "document.rows[1].count is not a whole number from 1"),
        ({"rows": [{"count": True}]}, "document.rows[0].count is not a whole number from 1"),
        ({"rows": [{"count": 1, "part": 80}]}, "document.rows[0].part is not a number from 0 to 1"),
        ({"rows": [{"count": 1, "on": 1}]}, "document.rows[0].on is not true or false"),
        ({"at": [10**400]}, "document.at[0] is not a number"),
        ({"at": ["1"]}, "document.at[0] is not a number"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(change, said):
    assert misfit(FITS | change, SHAPE) == said


@pytest.mark.parametrize("text", ["", "{", "[NaN]", "[Infinity]", "[1e999]", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_or_no_number_is_a_value_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json", [NUMBER])


def test_not_a_number_is_above_nothing():
    assert misfit(float("nan"), POSITIVE) and misfit(float("inf"), NUMBER) and misfit(0, POSITIVE)
