"""The model and the gallery that `make serve` serves belong together, are whole, and find the people that their README names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.people.gallery import NAMED_CAMERAS, PEOPLE, PICTURES
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.lookup.filters import Filters
from runtime.gallery.times import time_text
from runtime.images.decode import decode, load_image
from runtime.model import Model, open_model

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data" / "service"
QUERIES = ROOT / "data" / "anny_reid" / "query"


@pytest.fixture(scope="module")
def model() -> Model:
    """Raises for a file without a passed gate."""
    return open_model(DATA / "hybrid_lite.int8.onnx", threads=1)


@pytest.fixture(scope="module")
def gallery(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    folder = tmp_path_factory.mktemp("service") / "gallery"
    shutil.copytree(DATA / "gallery", folder)
    # raises for a gallery of another model
    with open_gallery(folder, model=model) as opened:
        yield opened


def test_the_gallery_is_whole(gallery):
    held = gallery.info()
    assert (held.rows, held.persons, held.thumbnails) == (8 * PEOPLE, PEOPLE, held.rows)
    assert held.cameras == dict.fromkeys(range(4), PICTURES * PEOPLE)
    assert not gallery.verify().problems
    assert time_text(held.first_us)[:10] == time_text(held.last_us)[:10] == "2026-11-27"
    threshold = gallery.calibration.threshold
    assert threshold.people == PEOPLE and threshold.bound <= 0.1


def test_thumbnails_show_the_pictures_of_the_rows(gallery):
    ids = gallery.ids()[::60]
    rows, _ = gallery.rows(ids)
    for number, row in zip(ids, rows):
        original = load_image(ROOT / "data" / "anny_reid" / "bounding_box_test" / row.path).astype(float)
        assert np.abs(decode(gallery.thumbnail(number)).pixels - original).mean() < 8


def test_only_the_first_cameras_have_names(gallery):
    rows, _ = gallery.rows(gallery.ids(Filters()))
    assert {row.camera for row in rows if row.person is not None} == set(NAMED_CAMERAS)
    assert all(row.path.startswith(row.person) for row in rows if row.person is not None)
    assert {row.path[:4] for row in rows} == {str(number) for number in range(7001, 7001 + PEOPLE)}


def test_a_known_person_is_found_and_strangers_are_refused(model, gallery):
    names = ["7003_c*", "7005_c*", "7040_c*", "7050_c*"]
    paths = [sorted(QUERIES.glob(name))[0] for name in names]
    features = model.embed([load_image(path) for path in paths], color="rgb")
    hits = gallery.search(features, top=1)
    assert [hit.row.path[:4] for hit in hits[:2]] == ["7003", "7005"]
    assert not any(hit.accepted for hit in hits[2:])


def test_the_people_of_the_threshold_are_not_in_the_gallery():
    folders = [ROOT / "data" / "anny_reid" / name for name in ("bounding_box_train", "bounding_box_test")]
    others, people = ({path.name[:4] for path in folder.glob("*.jpg")} for folder in folders)
    assert others and people and not others & people
