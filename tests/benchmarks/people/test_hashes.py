"""The hashes that fix a rendered set: a changed, missing or further picture is found, and by its person."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.people import hashes
from runtime.errors import guarded

SHIPPED = Path(__file__).resolve().parents[3] / "data" / "anny_reid"
LARGE = SHIPPED / "large.json"


@pytest.fixture
def few(tmp_path):
    """The shipped pictures of two people, with their anny.json."""
    meta = hashes.described(SHIPPED)
    meta["images"] = {path: entry for path, entry in meta["images"].items() if entry["pid"] in (1, 7001)}
    for path in meta["images"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(SHIPPED / path, tmp_path / path)
    (tmp_path / "anny.json").write_text(json.dumps(meta))
    return tmp_path


def test_a_set_agrees_with_its_own_hashes_and_a_touched_picture_names_its_person(few, capsys):
    note = few / "note.json"
    assert guarded(hashes.main, [str(few), "--write", str(note)]) == 0
    assert guarded(hashes.main, [str(few), "--against", str(note)]) == 0
    next((few / "query").glob("7001_*")).write_bytes(b"other")
    assert guarded(hashes.main, [str(few), "--against", str(note)]) == 3
    assert "1 of 2 identities differ" in (said := capsys.readouterr().err) and "first 7001;" in said
    next((few / "bounding_box_train").glob("0001_*")).unlink()
    assert guarded(hashes.main, [str(few), "--against", str(note)]) == 3
    assert "2 of 2 identities differ" in capsys.readouterr().err


def test_a_person_on_one_side_only_differs():
    assert hashes.differing({"9": "a", "10": "b"}, {"10": "b", "2": "c"}) == ["2", "9"]


def test_the_shipped_people_are_those_of_the_large_set_that_the_teacher_learnt_from():
    large = json.loads(LARGE.read_text())
    assert large["pictures"] >= 35_000 and large["plan"]["train_identities"] >= 2_000
    mine = hashes.digests(hashes.described(SHIPPED)["images"])
    assert len(mine) == 120 and {pid: large["identities"][pid] for pid in mine} == mine


def test_a_folder_without_anny_json_is_one_clear_line(tmp_path, capsys):
    assert guarded(hashes.main, [str(tmp_path), "--write", str(tmp_path / "x")]) == 2
    assert "no readable anny.json" in capsys.readouterr().err
