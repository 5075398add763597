"""The commands of a gallery: add, resume, search, delete, merge, export, and the resumed extract."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.gallery.rows import contents
from runtime import model as model_module
from runtime.errors import DataError
from runtime.features import load_features
from runtime.gallery.api import open_gallery
from runtime.options.store_place import StorePlace
from runtime.stopping import Stopped
from tests.fakes.tiny_model import SPEC, write_model
from tests.runtime.gallery.conftest import At, Run

Stop = Callable[[int], None]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Fourteen images of seven people in two cameras, with a time in some names; one is a copy of another, and one is unusable."""
    folder = tmp_path / "crops"
    for number in range(14):
        picture(folder / f"{number // 2 + 1:04d}_c{number % 2 + 1}s1_{number:06d}_00.png", number)
    (folder / "9998_c1s1_000000_00.png").write_bytes((folder / "0001_c1s1_000000_00.png").read_bytes())
    (folder / "9999_c1s1_000000_00.png").write_bytes(b"no image")
    picture(folder / "hall_20261127T101530.png", 50)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Models answer so many batches, and then SIGTERM comes. A negative number lets them answer for ever."""

    def arrange(batches: int) -> None:
        monkeypatch.undo()
        honest = model_module.open_artifact

        def opened(*path: Any, **how: Any) -> Any:
            artifact, left = honest(*path, **how), [batches]

            def answer(some: Any, camera_ids: Any = None) -> Any:
                if not left[0]:
                    raise Stopped(signal.SIGTERM)
                left[0] -= 1
                answer.batches.append(len(some))  # type: ignore[attr-defined]
                return artifact.run(some, camera_ids)

            answer.batches = []  # type: ignore[attr-defined]
            arrange.answers = answer.batches  # type: ignore[attr-defined]
            return dataclasses.replace(artifact, run=answer)

        monkeypatch.setattr(model_module, "open_artifact", opened)

    return arrange


def add(model: Path, images: Path, store: StorePlace, *words: object) -> list[object]:
    return [
        "gallery",
        "add",
        model,
        images,
        "--store",
        store,
        "--batch",
        4,
        "--max-bad",
        0.2,
        "--json",
        *words,
    ]


def test_add_and_add_again(
    run: Run, model: Path, images: Path, tmp_path: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = at("g")
    code, result, err = run(*add(model, images, store))
    assert code == 0 and (result["added"], result["present"], result["skipped"]) == (15, 1, 1)
    assert "15" in err and "no time" in err and "9999" in (tmp_path / "skipped.jsonl").read_text()
    code, result, err = run(*add(model, images, store))
    assert code == 0 and (result["added"], result["present"], result["rows"]) == (0, 16, 15)
    with open_gallery(store) as gallery:
        rows = {Path(row.path).name: row for row in gallery.rows(gallery.ids())[0]}
    one = rows["0003_c2s1_000005_00.png"]
    assert (one.person, one.camera, one.time_us, one.source) == ("3", 1, None, "")
    assert os.path.isabs(one.path)
    hall = rows["hall_20261127T101530.png"]
    assert (hall.person, hall.camera, hall.time_us) == (None, None, 1_795_774_530_000_000)
    code, result, _ = run(
        *add(
            model,
            images,
            store,
            "--source",
            "again",
            "--as-camera",
            5,
            "--as-time",
            "2026-01-01",
            "--as-track",
            "t",
            "--as-person",
            "Ann",
        )
    )
    assert result["added"] == 15
    with open_gallery(store) as gallery:
        last = gallery.rows(gallery.ids()[-1:])[0][0]
    assert (last.source, last.camera, last.track, last.person) == ("again", 5, "t", "Ann")
    code, _, err = run(*add(model, images, store, "--as-camera", 3))
    assert code == 0 and "another camera" in err


def test_a_stopped_add_resumes_to_the_same_features(
    run: Run, model: Path, images: Path, at: At, stop_after: Stop
) -> None:
    assert run(*add(model, images, at("whole")))[0] == 0
    for batches in (1, 2, 3):
        store = at(f"g{batches}")
        stop_after(batches)
        code, result, err = run(*add(model, images, store))
        assert (
            code == 143
            and result is None
            and "resumes" in err
            and f"{4 * batches} " in err.split("images were")[0][-4:]
        )
        stop_after(-1)
        code, result, _ = run(*add(model, images, store))
        assert code == 0 and result["added"] + result["present"] == 16 and result["rows"] == 15
        # every batch was filled, so that the features cannot differ
        assert set(stop_after.answers) == {4}  # type: ignore[attr-defined]
        with open_gallery(at("whole")) as one, open_gallery(store) as other:
            (rows, features), (rows_2, features_2) = one.rows(one.ids()), other.rows(other.ids())
        order = np.argsort([row.sha256 for row in rows])
        order_2 = np.argsort([row.sha256 for row in rows_2])
        assert [rows[n].sha256 for n in order] == [rows_2[n].sha256 for n in order_2]
        assert np.array_equal(features[order], features_2[order_2])


def extract(model: Path, images: Path, out: Path, *words: object) -> list[object]:
    return ["extract", model, images, "--out", out, "--batch", 4, "--max-bad", 0.2, "--json", *words]


@pytest.mark.parametrize("camera", ["none", "input"])
def test_a_stopped_extract_resumes_to_the_same_file(
    run: Run, images: Path, tmp_path: Path, stop_after: Stop, camera: str
) -> None:
    spec = SPEC if camera == "none" else dataclasses.replace(SPEC, camera="input", cameras=2)
    model = write_model(tmp_path / "c.onnx", spec)
    assert run(*extract(model, images, tmp_path / "whole.npz", "--camera", camera))[0] == 0
    whole = load_features(tmp_path / "whole.npz")
    out = tmp_path / "f.npz"
    for batches in (1, 1, 1):
        stop_after(batches)
        assert run(*extract(model, images, out, "--camera", camera))[0] == 143
        assert (tmp_path / "f.resume").is_dir() and not out.exists()
    stop_after(-1)
    code, result, err = run(*extract(model, images, out, "--camera", camera))
    # the copy of an image counts among those that were extracted
    assert code == 0 and "resuming" in err and len(stop_after.answers) == 1  # type: ignore[attr-defined]
    again = load_features(out)
    assert again.paths == whole.paths and np.array_equal(again.features, whole.features)
    assert (again.camids == whole.camids).all() and again.images == whole.images
    assert not (tmp_path / "f.resume").exists() and not (tmp_path / "f.partial.npz").exists()


def test_an_extract_does_not_resume_with_another_model_or_batch(
    run: Run, model: Path, images: Path, tmp_path: Path, stop_after: Stop
) -> None:
    out = tmp_path / "f.npz"
    stop_after(2)
    assert run(*extract(model, images, out))[0] == 143
    stop_after(-1)
    words = extract(model, images, out)
    words[words.index(4)] = 2
    code, _, err = run(*words)
    assert code == 0 and "resuming" not in err
    stop_after(2)
    assert run(*extract(model, images, out))[0] == 143
    stop_after(-1)
    other = write_model(tmp_path / "other.onnx", dim=7)
    code, _, err = run(*extract(other, images, out))
    assert code == 0 and "another embedding space" in err
    assert load_features(out).features.shape[1] == 7


def test_another_model_is_refused(run: Run, model: Path, images: Path, tmp_path: Path, at: At) -> None:
    store = at("g")
    assert run(*add(model, images, store))[0] == 0
    other = write_model(tmp_path / "other.onnx", dim=7)
    for words in (
        add(other, images, store),
        ["gallery", "search", other, images / "0001_c1s1_000000_00.png", "--store", store],
    ):
        code, result, err = run(*words)
        assert code == 4 and result is None and "model" in err and "Traceback" not in err


def test_search_with_filters(run: Run, model: Path, images: Path, at: At) -> None:
    store, query = at("g"), images / "0002_c1s1_000002_00.png"
    run(*add(model, images, store))
    search = ["gallery", "search", model, query, "--store", store, "--json"]
    code, result, _ = run(*search, "--top", 3)
    (found,) = result["queries"]
    assert code == 0 and len(found["matches"]) == 3
    first = found["matches"][0]
    assert (
        first["path"] == str(query)
        and first["distance"] == pytest.approx(0, abs=1e-6)
        and first["person"] == "2"
    )
    assert all(hit["camera"] == 1 for hit in run(*search, "--cameras", "1,7")[1]["queries"][0]["matches"])
    hits = run(*search, "--since", "2026-11-27", "--until", "2026-11-28")[1]["queries"][0]["matches"]
    assert [hit["time"] for hit in hits] == ["2026-11-27T10:15:30Z"]
    code, result, err = run(*search, "--since", "2027-01-01")
    assert code == 0 and result["queries"][0]["matches"] == [] and "no row" in err
    code, result, err = run(*search, "--rerank")
    assert code == 0 and result["reranked"] and "no cosine" in err
    assert run(*search, "--since", "soon")[0] == 2
    assert run("gallery", "search", model, query, "--store", at("none"), "--json")[0] == 3


def test_delete_expire_verify_compact_and_info(run: Run, model: Path, images: Path, at: At) -> None:
    store = at("g")
    run(*add(model, images, store, "--thumbnails"))
    place = ["--store", store, "--json"]
    code, result, _ = run("gallery", "info", *place)
    assert code == 0 and (result["rows"], result["persons"], result["thumbnails"]) == (15, 7, 15)
    assert result["cameras"] == {"unknown": 1, "0": 7, "1": 7}
    assert run("gallery", "delete", *place)[0] == 2
    image = images / "0004_c1s1_000006_00.png"
    assert run("gallery", "delete", *place, "--image", image)[1] == {
        "store": str(store),
        "deleted": 1,
        "rows": 14,
    }
    assert image.name.encode() not in contents(store)
    assert run("gallery", "delete", *place, "--person", 5, "--camera", 0)[1]["deleted"] == 1
    code, result, err = run("gallery", "expire", *place, "--older", "1m")
    assert (result["deleted"], result["rows"]) == (0, 13) or result["deleted"] == 1
    assert "no time" in err
    assert run("gallery", "expire", *place, "--older", "long")[0] == 2
    code, result, _ = run("gallery", "compact", *place)
    assert code == 0 and (result["freed"] >= 2 if isinstance(store, Path) else result["freed"] == 0)
    code, result, _ = run("gallery", "verify", *place)
    assert code == 0 and result["damaged"] == 0


def test_what_the_message_about_a_damaged_row_advises_helps(
    run: Run, model: Path, images: Path, tmp_path: Path
) -> None:
    store = tmp_path / "g"
    run(*add(model, images, store))
    place = ["--store", store, "--json"]
    segment = next(store.glob("*.f32"))
    data = bytearray(segment.read_bytes())
    data[5] ^= 1
    segment.write_bytes(data)
    code, result, err = run("gallery", "verify", *place)
    assert code == 6 and result["damaged"] == 1 and "row 1" in result["problems"][0]
    code, result, err = run("gallery", "search", model, images / "0001_c1s1_000000_00.png", *place)
    assert code == 6 and result is None and "verify" in err
    # what the message advises helps
    assert run("gallery", "delete", *place, "--id", 1)[1]["deleted"] == 1
    assert run("gallery", "verify", *place)[0] == 0


def test_shards_merge_to_the_whole(run: Run, model: Path, images: Path, tmp_path: Path, at: At) -> None:
    assert run(*add(model, images, at("whole")))[0] == 0
    for shard in ("1/3", "2/3", "3/3"):
        name = shard[0]
        assert run(*add(model, images, at(f"s{name}"), "--shard", shard, "--max-bad", 1))[0] == 0
        assert (
            run(*extract(model, images, tmp_path / f"f{name}.npz", "--shard", shard, "--max-bad", 1))[0] == 0
        )
    for kind in ("s1 s2 s3 s2", "f1.npz f2.npz f3.npz s1"):
        target = at(f"merged-{kind[0]}")
        sources = [tmp_path / name if name.endswith("npz") else at(name) for name in kind.split()]
        code, result, _ = run("gallery", "merge", *sources, "--store", target, "--json")
        assert code == 0 and result["added"] == 15
        assert run("gallery", "merge", *sources, "--store", target, "--json")[1]["added"] == 0
        with open_gallery(at("whole")) as one, open_gallery(target) as other:
            (rows, features), (rows_2, features_2) = one.rows(one.ids()), other.rows(other.ids())
        by_image = {row.sha256: values for row, values in zip(rows, features)}
        assert {row.sha256 for row in rows_2} == set(by_image)
        assert all(np.array_equal(by_image[row.sha256], values) for row, values in zip(rows_2, features_2))
    other = write_model(tmp_path / "other.onnx", dim=7)
    assert run(*add(other, images, at("o")))[0] == 0
    assert run("gallery", "merge", at("s1"), at("o"), "--store", at("m"), "--json")[0] == 4
    with pytest.raises(DataError):
        open_gallery(at("m"))
    assert run(*add(model, images, at("x"), "--shard", "4/3"))[0] == 2
    assert run("gallery", "merge", tmp_path / "none", "--store", at("m"), "--json")[0] in (3, 4)


def test_export_as_features_and_as_a_list(
    run: Run, model: Path, images: Path, tmp_path: Path, at: At
) -> None:
    store = at("g")
    run(*add(model, images, store))
    code, result, _ = run(
        "gallery", "export", "--store", store, "--out", tmp_path / "f.npz", "--cameras", 0, "--json"
    )
    features = load_features(tmp_path / "f.npz")
    assert code == 0 and result["rows"] == len(features.paths) == 7
    assert sorted(features.pids.tolist()) == list(range(1, 8)) and set(features.camids.tolist()) == {0}
    code, result, _ = run("gallery", "export", "--store", store, "--out", tmp_path / "r.jsonl", "--json")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert result["rows"] == len(lines) == 15 and {line["camera"] for line in lines} == {0, 1, None}
    assert run("gallery", "export", "--store", store, "--out", tmp_path / "f.txt", "--json")[0] == 2
    assert (
        run("gallery", "export", "--store", store, "--out", tmp_path / "n.npz", "--cameras", 8, "--json")[0]
        == 3
    )


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not UTF-8")
def test_a_path_that_is_not_utf8_is_stored_found_and_deleted(
    run: Run, model: Path, tmp_path: Path, at: At
) -> None:
    folder = tmp_path / "odd"
    picture(folder / "a.png", 1)
    odd = os.fsencode(folder) + b"/\xff\n.png"
    os.rename(folder / "a.png", odd)
    store = at("g")
    assert run(*add(model, folder, store))[0] == 0
    code, result, _ = run("gallery", "search", model, os.fsdecode(odd), "--store", store, "--json")
    assert code == 0 and result["queries"][0]["matches"][0]["path_b64"]
    assert (
        run("gallery", "delete", "--store", store, "--image", os.fsdecode(odd), "--json")[1]["deleted"] == 1
    )
    assert b"\xff\n.png" not in contents(store)


def test_a_folder_of_somebody_else_is_not_removed_by_an_extract(
    run: Run, model: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "f.resume").mkdir()
    (tmp_path / "f.resume" / "letter.txt").write_text("mine")
    code, _, err = run(*extract(model, images, tmp_path / "f.npz"))
    assert code == 6 and "letter.txt" in err
    assert (tmp_path / "f.resume" / "letter.txt").read_text() == "mine"
