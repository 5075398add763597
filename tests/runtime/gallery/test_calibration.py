"""Calibrations of a gallery: applied at search, versioned, reversible, and only where they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.gallery.rows import contents
from runtime import Features, load_features, save_features
from runtime.errors import DataError, GateError, StorageError
from runtime.gallery.api import Gallery, open_gallery
from runtime.gallery.calibrating import (
    ThresholdOptions,
    calibrate_gallery_site,
    calibrate_gallery_threshold,
    switch_off,
)
from runtime.gallery.calibrations import SITE, THRESHOLD, write_calibration
from runtime.gallery.ingest import Buffer, Labels
from runtime.gallery.local import LocalStorage
from runtime.gallery.places import open_storage
from runtime.gallery.space import Space
from runtime.gallery.store.rows import Row
from runtime.gallery.transfer import transfer_threshold
from runtime.model import open_model
from runtime.options.store_place import StorePlace
from tests.fakes.tiny_model import write_model
from tests.runtime.gallery.conftest import At, Run
from tests.runtime.ranking.test_site import DIM, crops

SPACE = Space("a" * 64, DIM, "none")


def filled(
    place: StorePlace, people: int = 120, **how: Any
) -> tuple[Gallery, np.ndarray, np.ndarray, np.ndarray]:
    """A gallery of synthetic people in three cameras, without labels of people, and its features."""
    table, camids, persons = crops(people, 3, **how)
    gallery = Gallery(open_storage(place, SPACE, segment_rows=100))
    gallery.add(table, cameras=camids.tolist())
    return gallery, table, camids, persons


def labelled(people: int, seed: int, **how: Any) -> Features:
    table, camids, persons = crops(people, 3, seed=seed, **how)
    return Features(table, tuple(f"/p/{n}.png" for n in range(len(table))), persons + 1, camids, SPACE.model)


def test_a_site_calibration_is_applied_at_search_and_reversible(at: At) -> None:
    gallery, table, camids, _ = filled(at("g"))
    with gallery:
        plain = gallery.search(table[:20], top=7)
        _, before = gallery.rows(gallery.ids())
        number, means = calibrate_gallery_site(gallery)
        moved = means.apply(table, camids)
        for filters, rows in (({}, np.arange(len(table))), ({"cameras": [2]}, np.flatnonzero(camids == 2))):
            hits = gallery.search(table[:20], top=7, query_cameras=camids[:20].tolist(), **filters)
            distances = 1 - moved[:20] @ moved[rows].T
            order = np.argsort(distances, axis=1, kind="stable")[:, :7]
            assert [hit.id - 1 for hit in hits] == rows[order].ravel().tolist()
            expected = np.take_along_axis(distances, order, 1).ravel()
            assert [hit.distance for hit in hits] == pytest.approx(list(expected), abs=1e-5)
        # rows that are added later, and a query of an unknown camera
        gallery.add(-table[:1], cameras=[1])
        query = means.apply(-table[:1], np.array([-1]))
        hit = gallery.search(-table[0], top=1)[0]
        assert hit.distance == pytest.approx(
            1 - float(query[0] @ means.apply(-table[:1], np.array([1]))[0]), abs=1e-5
        )
        gallery.delete(id=hit.id)
        reranked = gallery.search(table[3], top=5, rerank=True, query_cameras=[int(camids[3])])
        assert reranked[0].id == 4 and reranked[0].accepted is None
        # the features stay as they are
        assert (gallery.rows(gallery.ids())[1] == before).all()
        switch_off(gallery, SITE)
        assert gallery.search(table[:20], top=7) == plain
        assert gallery.info().calibrations == {"site": 2} and number == 1


def test_refusals_name_the_reason_and_leave_no_record(at: At, run: Run) -> None:
    gallery, *_ = filled(at("few"), people=10)
    gallery.close()
    code, result, err = run("calibrate", "site", "--store", at("few"), "--json")
    assert code == 3 and result is None and "crops" in err
    gallery, *_ = filled(at("same"), shift=0.0)
    gallery.close()
    code, _, err = run("calibrate", "site", "--store", at("same"), "--json")
    assert code == 3 and "chance" in err
    with open_gallery(at("same")) as gallery:
        assert gallery.info().calibrations == {}
    gallery, *_ = filled(at("good"))
    gallery.close()
    code, result, err = run("calibrate", "site", "--store", at("good"), "--json")
    assert code == 0 and result["cameras"] == {"0": 100, "1": 100, "2": 100} and "subtracted" in err
    assert run("calibrate", "site", "--store", at("good"), "--off", "--json")[0] == 0


def test_a_threshold_gives_verdicts_and_rates(tmp_path: Path, at: At, run: Run) -> None:
    gallery, table, camids, _ = filled(at("g"), people=60, seed=1, shift=0.5)
    gallery.close()
    save_features(tmp_path / "people.npz", labelled(500, 2, shift=0.3))
    words = ["calibrate", "threshold", "--store", at("g"), "--json"]
    code, result, err = run(*words, "--people", tmp_path / "people.npz", "--enrolled", 100)
    assert code == 0 and result["people"] == 100 and result["searches"] == 400
    assert result["bound"] <= 0.01 and 0 < result["tpir_rank1"] <= result["tpir_rank10"] <= 1
    # 360 rows without a person or a track: as many people as the threshold knows of
    assert result["people_here"] == 360 and result["bound_here"] > result["bound"] and "WARNING" in err
    with open_gallery(at("g")) as store:
        hits = store.search(table[:9], top=5)
        assert all(hit.accepted == (hit.distance <= result["distance"]) for hit in hits)
        assert {hit.accepted for hit in hits} == {True, False}
        assert all(0 <= (hit.probability or 0) <= 1 for hit in hits)
        number = calibrate_gallery_site(store)[0]
        # the threshold was made without the means
        assert store.calibration.stale == 1 and store.calibration.site_id == number
        assert all(hit.accepted is None for hit in store.search(table[:9], top=5))
    code, _, err = run(*words, "--people", tmp_path / "people.npz", "--enrolled", 100)
    assert code == 0
    with open_gallery(at("g")) as store:
        assert store.calibration.stale is None and store.search(table[0], top=1)[0].accepted
        switch_off(store, THRESHOLD)
        assert store.search(table[0], top=1)[0].accepted is None


def test_a_threshold_from_the_labelled_rows_of_the_gallery(at: At, run: Run) -> None:
    people = labelled(500, 3)
    with Gallery(open_storage(at("g"), SPACE)) as gallery:
        gallery.add(people)
        number, threshold = calibrate_gallery_threshold(gallery, [], ThresholdOptions(enrolled=100))
        assert number == 1 and threshold.searches == 400
    code, result, err = run("calibrate", "threshold", "--store", at("g"), "--fpir", "0.001", "--json")
    assert code == 3 and result is None and "2995" in err


@pytest.mark.parametrize("kind", [SITE, THRESHOLD])
def test_a_damaged_record_is_an_error_and_what_the_message_advises_mends_it(
    at: At, run: Run, kind: str
) -> None:
    gallery, table, *_ = filled(at("g"))
    with gallery:
        # a record that is no calibration
        write_calibration(gallery.store, kind, {"cameras": "none"} if kind == SITE else {"site": None})
        with pytest.raises(StorageError, match="calibrate"):
            gallery.search(table[0])
        if kind == SITE:
            calibrate_gallery_site(gallery)
        else:
            calibrate_gallery_threshold_of_strangers(gallery)
        assert gallery.search(table[0]) and gallery.verify().damaged == 0
        # one digit is another one
        text = gallery.store.calibrations(newest=False)[-1].record
        last = text.rindex("0")
        replace_record(gallery, text, f"{text[:last]}1{text[last + 1 :]}")
    with open_gallery(at("g")) as gallery:
        with pytest.raises(StorageError, match=rf"\({kind}\).*--off"):
            gallery.search(table[0])
        assert gallery.verify().damaged == 1
    assert run("calibrate", kind, "--off", "--store", at("g"), "--json")[0] == 0
    with open_gallery(at("g")) as gallery:
        assert gallery.search(table[0]) and gallery.verify().damaged == 0


def replace_record(gallery: Gallery, old: str, new: str) -> None:
    """Change a record where it is stored, as a damaged disk would."""
    store: Any = gallery.store
    if isinstance(store, LocalStorage):
        store.files.db.execute("UPDATE calibration SET record = ? WHERE record = ?", (new, old))
    else:
        with store.server.direct() as db:
            db.execute("UPDATE reid_calibration SET record = %s WHERE record = %s", (new, old))


def calibrate_gallery_threshold_of_strangers(gallery: Gallery) -> None:
    switch_off(gallery, THRESHOLD)
    calibrate_gallery_threshold(gallery, [labelled(500, 2)], ThresholdOptions(enrolled=100))


@pytest.mark.parametrize("rate", [0, 1])
def test_a_rate_that_no_threshold_has_is_refused(at: At, run: Run, rate: int) -> None:
    filled(at("g"), people=5)[0].close()
    code, _, err = run("calibrate", "threshold", "--store", at("g"), "--fpir", rate, "--json")
    assert code == 2 and "Traceback" not in err


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """400 images of 200 synthetic people, two each, in two cameras."""
    folder = tmp_path / "people"
    folder.mkdir()
    for number in range(400):
        random = np.random.default_rng(number // 2)
        blocks = random.integers(0, 256, (4, 2, 3)).repeat(8, 0).repeat(8, 1)
        noise = np.random.default_rng(1000 + number).integers(-30, 30, blocks.shape)
        image = Image.fromarray(np.clip(blocks + noise, 0, 255).astype(np.uint8))
        image.save(folder / f"{number // 2 + 1:04d}_c{number % 2 + 1}s1_{number:06d}_00.png")
    return folder


def test_an_add_says_how_many_new_images_are_known_people(
    tmp_path: Path, at: At, people: Path, run: Run
) -> None:
    model, strangers = write_model(tmp_path / "m.onnx", dim=24), tmp_path / "strangers"
    strangers.mkdir()
    for image in sorted(people.iterdir())[360:]:
        image.rename(strangers / image.name)
    known = tmp_path / "known"
    known.mkdir()
    for image in sorted(people.iterdir())[:80:2]:
        image.rename(known / image.name)
    words = ["gallery", "add", model, "--store", at("g"), "--json"]
    code, result, _ = run(*words, people)
    assert code == 0 and result["threshold"] is None and result["compared"] == result["matched"] == 0
    assert run("extract", model, people, "--out", tmp_path / "f.npz", "--json")[0] == 0
    calibrated = run(
        "calibrate",
        "threshold",
        "--store",
        at("g"),
        "--people",
        tmp_path / "f.npz",
        "--fpir",
        0.05,
        "--json",
    )
    assert calibrated[0] == 0
    # the features of the other images of the same people, compared one by one with those that are stored
    with open_gallery(at("g")) as gallery:
        stored = gallery.rows(gallery.ids())[1]
    for folder in (known, strangers):
        assert run("extract", model, folder, "--out", tmp_path / "q.npz", "--json")[0] == 0
        nearest = 1 - (load_features(tmp_path / "q.npz").features @ stored.T).max(1)
        code, result, err = run(*words, folder)
        assert code == 0 and result["compared"] == 40
        assert result["matched"] == int((nearest <= result["threshold"]["distance"]).sum())
        assert f"{result['matched']} of 40 new images match" in err
        stored = np.concatenate([stored, load_features(tmp_path / "q.npz").features])
        if folder == known:
            assert result["matched"] > 20


def test_new_rows_are_stored_even_if_the_comparison_meets_a_damaged_row(tmp_path: Path) -> None:
    gallery, table, *_ = filled(tmp_path / "g")
    with gallery:
        calibrate_gallery_threshold(gallery, [labelled(200, 5)], ThresholdOptions(0.05))
        count = len(gallery)
        with min((tmp_path / "g").glob("*.f32")).open("r+b") as file:
            file.write(b"damage")
        buffer = Buffer(gallery, Labels())
        buffer.put([Row("b" * 64)], table[:1])
        with pytest.raises(StorageError, match="damaged"):
            buffer.flush()
        assert len(gallery) == count + 1 and buffer.added.added == 1


def test_a_threshold_is_transferred_only_if_it_means_the_same(
    tmp_path: Path, at: At, people: Path, run: Run
) -> None:
    model = write_model(tmp_path / "m.onnx", dim=24)
    assert run("extract", model, people, "--out", tmp_path / "f.npz", "--json")[0] == 0
    assert run("gallery", "add", model, people, "--store", at("g"), "--json")[0] == 0
    words = [
        "calibrate",
        "threshold",
        "--store",
        at("g"),
        "--fpir",
        0.05,
        "--people",
        tmp_path / "f.npz",
        "--json",
    ]
    assert run(*words)[0] == 0
    # another file of the model: the same numbers under another hash
    import onnx

    from runtime.files.manifest import write_manifest

    loaded = onnx.load(model)
    loaded.doc_string = "another file"
    other = tmp_path / "other.onnx"
    onnx.save(loaded, other)
    manifest = json.loads((tmp_path / "m.onnx.json").read_text())
    write_manifest(
        other, {key: value for key, value in manifest.items() if key not in ("sha256", "host", "schema")}
    )
    assert run("gallery", "add", other, people, "--store", at("h"), "--json")[0] == 0
    transfer = ["calibrate", "transfer", other, "--store", at("h"), "--from", at("g"), "--json"]
    code, _, err = run(*transfer)
    assert code == 3 and "--crops" in err
    assert run(*words, "--crops", 100)[0] == 0
    with open_gallery(at("g")) as gallery:
        newest = gallery.calibration.threshold_id
    changed = people / "0001_c1s1_000000_00.png"
    whole = changed.read_bytes()
    changed.write_bytes(whole + b"?")
    code, _, err = run(*words, "--crops", 400)
    assert code == 3 and "changed" in err
    changed.write_bytes(whole)
    with open_gallery(at("g")) as gallery:
        assert gallery.calibration.threshold_id == newest
    code, result, err = run(*transfer)
    assert code == 0 and result["crops"] == 100 and result["largest_change"] < 1e-5
    with open_gallery(at("g")) as one, open_gallery(at("h")) as two:
        assert one.calibration.threshold == two.calibration.threshold
        # a model that brings all people together
        opened = open_model(other)

        class Worse:
            artifact, dim = opened.artifact, opened.dim

            @staticmethod
            def embed(*images: Any, **how: Any) -> np.ndarray:
                features = opened.embed(*images, **how) + 0.5
                return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))

        with pytest.raises(GateError, match="else") as caught:
            transfer_threshold(one, two, Worse())  # type: ignore[arg-type]
        assert caught.value.code == 7
        # deleting a row deletes the crop of its image, and deleting a person all crops of this person
        number = one.calibration.threshold_id or 0
        crops = [crop[4] for crop in one.store.crops(number)]
        path = next(path for path in people.iterdir() if path.read_bytes() in crops)
        image = path.read_bytes()
        assert one.delete(image=path) == 1 and image not in contents(at("g"))
        person, *_, image = one.store.crops(number)[0]
        if isinstance(at("g"), Path):
            # a server may keep large values compressed or in pieces
            assert image in contents(at("g"))
        one.delete(person=person)
        assert image not in contents(at("g"))


def test_a_gallery_without_rows_is_not_calibrated(at: At) -> None:
    with Gallery(open_storage(at("g"), SPACE)) as gallery:
        with pytest.raises(DataError, match="empty"):
            calibrate_gallery_site(gallery)
        with pytest.raises(DataError, match="people"):
            calibrate_gallery_threshold(gallery, [], ThresholdOptions())
