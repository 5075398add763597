"""JSON files of other machines, or damaged ones: what fits is read, what does not is named by its place in one line."""

import json
import subprocess
import sys

import jsonschema
import pytest

from benchmarks.bench import compare
from benchmarks.bench.merge import runs
from benchmarks.device import replay
from benchmarks.json_files import (
    COUNT,
    NUMBER,
    PART,
    POSITIVE,
    TEXT,
    YES_NO,
    listed,
    mapping,
    maybe,
    members,
    misfit,
    read_document,
    read_json,
)
from runtime.errors import ConfigError, DataError

ROW = members({"count": COUNT}, {"part": maybe(PART), "on": maybe(YES_NO)})
SCHEMA = members({"name": TEXT, "rows": listed(ROW, least=1)}, {"at": maybe(listed(NUMBER))})
FITS = {
    "name": "x",
    "rows": [{"count": 3, "part": 0.5, "free": {}}, {"count": 1, "on": None}],
    "at": [-1, 2.5],
    "other": None,
}


def test_what_fits_is_read_with_members_that_nobody_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(FITS))
    assert read_json(tmp_path / "a.json", SCHEMA) == FITS


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": None}, "document.name: "),
        ({"rows": None}, "document.rows: "),
        ({"rows": "text"}, "document.rows: "),
        ({"rows": []}, "document.rows: "),
        ({"rows": [3]}, "document.rows[0]: "),
        ({"rows": [{}]}, "document.rows[0]: 'count'"),
        ({"rows": [{"count": 1}, {"count": 0}]}, "document.rows[1].count: "),
        ({"rows": [{"count": True}]}, "document.rows[0].count: "),
        ({"rows": [{"count": 1.0}]}, "document.rows[0].count: "),
        ({"rows": [{"count": 1, "part": 80}]}, "document.rows[0].part: "),
        ({"rows": [{"count": 1, "on": 1}]}, "document.rows[0].on: "),
        ({"at": [10**400]}, "document.at[0]: "),
        ({"at": ["1"]}, "document.at[0]: "),
        ({"at": [True]}, "document.at[0]: "),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(change, place):
    assert misfit(FITS, SCHEMA) is None
    message = misfit(FITS | change, SCHEMA)
    assert message.startswith(place) and len(message) < 300


@pytest.mark.parametrize("text", ["", "{", "[NaN]", "[Infinity]", "[1e999]", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_or_no_number_is_a_value_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json", listed(NUMBER))


def test_not_a_number_is_above_nothing():
    assert misfit(float("inf"), NUMBER) and misfit(0, POSITIVE) and not misfit(1e-9, POSITIVE)


def test_any_keys_hold_values_of_one_kind():
    assert misfit({"a": 1, "b": 2.5}, mapping(NUMBER)) is None
    assert misfit({"a": 1, "b c": None}, mapping(NUMBER)).startswith("document")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"name": "' + "x" * 10_000 + '"}', "\x00\xff"])
def test_a_file_that_does_not_fit_is_refused_in_one_line_with_its_name_and_the_next_step(tmp_path, text):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    for refusal in (ConfigError, DataError):
        with pytest.raises(refusal) as refused:
            read_document(path, SCHEMA, expected="a list of rows", advice="make it anew", refusal=refusal)
        message = str(refused.value)
        assert message.startswith(f"{path}: not a list of rows (") and message.endswith("; make it anew")
        assert "\n" not in message and len(message) < 1000


@pytest.mark.parametrize("schema", [SCHEMA, compare.RUN, runs.RUN, replay.RECORDING])
def test_every_schema_is_a_json_schema_and_nothing_else(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_without_jsonschema_the_line_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['jsonschema'] = None\n"
        "from runtime.entry import guarded\nfrom benchmarks.bench.merge import cli\n"
        "sys.exit(guarded(cli.main, ['a.json']))"
    )
    (tmp_path / "a.json").write_text("{}")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 5 and done.stderr.count("\n") == 1
    assert "jsonschema" in done.stderr and "pip install" in done.stderr
