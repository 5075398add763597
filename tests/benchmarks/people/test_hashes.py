"""The hashes of a rendered set: a changed, missing or additional image is found and attributed to its person."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.people import hashes
from runtime.entry import guarded

SHIPPED = Path(__file__).resolve().parents[3] / "data" / "anny_reid"
LARGE = SHIPPED / "large.json"


@pytest.fixture
def few(tmp_path):
    """The shipped images of two people, with their anny.json."""
    meta = hashes.read_rendered(SHIPPED)
    meta["images"] = {path: entry for path, entry in meta["images"].items() if entry["pid"] in (1, 7001)}
    for path in meta["images"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(SHIPPED / path, tmp_path / path)
    (tmp_path / "anny.json").write_text(json.dumps(meta))
    return tmp_path


def test_a_set_agrees_with_its_own_hashes_and_a_changed_image_names_its_person(few, capsys):
    hash_file = few / "hashes.json"
    assert guarded(hashes.main, [str(few), "--write", str(hash_file)]) == 0
    assert guarded(hashes.main, [str(few), "--against", str(hash_file)]) == 0
    next((few / "query").glob("7001_*")).write_bytes(b"other")
    assert guarded(hashes.main, [str(few), "--against", str(hash_file)]) == 3
    assert "1 of 2 " in (message := capsys.readouterr().err) and "7001" in message
    next((few / "bounding_box_train").glob("0001_*")).unlink()
    assert guarded(hashes.main, [str(few), "--against", str(hash_file)]) == 3
    assert "2 of 2 " in (message := capsys.readouterr().err) and "1, 7001" in message


def test_a_person_on_one_side_only_differs():
    assert hashes.differing_identities({"9": "a", "10": "b"}, {"10": "b", "2": "c"}) == ["2", "9"]


def test_the_shipped_people_are_part_of_the_large_set_that_the_teacher_was_trained_on():
    large = json.loads(LARGE.read_text())
    assert large["pictures"] >= 35_000 and large["plan"]["train_identities"] >= 2_000
    shipped = hashes.identity_digests(hashes.read_rendered(SHIPPED)["images"])
    assert len(shipped) == 120 and {pid: large["identities"][pid] for pid in shipped} == shipped


def test_a_folder_without_anny_json_is_refused(tmp_path, capsys):
    assert guarded(hashes.main, [str(tmp_path), "--write", str(tmp_path / "x")]) == 2
    assert "anny.json" in capsys.readouterr().err
