"""What the routes answer, compared with what the gallery and the model say directly."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from runtime.gallery.api import open_gallery
from runtime.gallery.store.rows import Row
from runtime.model import Model
from runtime.options.store_place import StorePlace
from tests.runtime.gallery.conftest import At
from tests.runtime.service.conftest import ROWS, Start, filled, pictures, pixels, png


@pytest.fixture
def store(at: At, model: Model) -> StorePlace:
    """The gallery of the service: once in a folder, and once on a PostgreSQL server."""
    return filled(at("gallery"), model)


def ids(answer: dict) -> list[int]:
    return [hit["row"]["id"] for hit in answer["hits"]]


def test_info_says_what_the_gallery_holds_and_what_is_taken(client: TestClient) -> None:
    info = client.get("/v1/info").json()
    assert (info["rows"], info["people"], info["writable"], info["thumbnails"]) == (ROWS, 3, True, True)
    assert info["cameras"] == [{"camera": 0, "rows": 3}, {"camera": 1, "rows": 3}]
    assert (info["first"], info["last"]) == ("2027-01-15T08:00:00Z", "2027-01-15T13:00:00Z")
    assert info["model"] == {"name": "m.onnx", "width": 16, "height": 32, "dimension": 6}
    assert info["calibration"] == client.get("/v1/calibration").json() == {"site": None, "threshold": None}
    assert len(info["gallery"]) == 16
    assert info["limits"] == {"bytes": 16 << 20, "images": 8, "top": 200}


def test_a_search_by_a_picture_ranks_as_the_gallery_does(
    client: TestClient, model: Model, store: StorePlace
) -> None:
    answer = client.post("/v1/search", files=pictures(9), data={"top": "4"}).json()
    with open_gallery(store) as gallery:
        expected = gallery.search(model.embed([pixels(9)], color="rgb"), top=4)
    assert ids(answer) == [hit.id for hit in expected]
    found = [hit["similarity"] for hit in answer["hits"]]
    assert found == pytest.approx([1 - hit.distance for hit in expected], abs=1e-6)
    assert (answer["searched"], answer["rows"], answer["note"]) == (ROWS, ROWS, None)
    assert answer["hits"][0]["accepted"] is answer["hits"][0]["probability"] is None
    row = client.post("/v1/search", files=pictures(3)).json()["hits"][0]["row"]
    assert row == {
        "id": 3,
        "person": "p2",
        "camera": 1,
        "time": "2027-01-15T10:00:00Z",
        "track": 3,
        "source": "3.png",
    }


def test_a_box_is_searched_as_the_part_that_it_cuts_out(client: TestClient) -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[20:52, 10:26] = pixels(5)
    import io

    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG")
    files = [("image", ("frame.png", stream.getvalue()))]
    hit = client.post("/v1/search", files=files, data={"box": "10,20,26,52", "top": "1"}).json()["hits"][0]
    assert hit["row"]["id"] == 5 and hit["similarity"] == pytest.approx(1, abs=1e-6)
    answer = client.post("/v1/embed", files=files, data={"box": ["10,20,26,52", "0,0,32,32"]}).json()
    assert answer["dimension"] == 6 and len(answer["features"]) == 2
    whole = client.post("/v1/embed", files=pictures(5)).json()["features"][0]
    assert answer["features"][0] == pytest.approx(whole, abs=1e-6)


def test_several_pictures_and_rows_are_searched_by_their_mean(
    client: TestClient, model: Model, store: StorePlace
) -> None:
    answer = client.post("/v1/search", files=pictures(8, 9), data={"row": "2", "exclude": "2"}).json()
    with open_gallery(store) as gallery:
        stored = gallery.rows([2])[1]
        mean = np.concatenate([model.embed([pixels(8), pixels(9)], color="rgb"), stored]).mean(axis=0)
        expected = [hit.id for hit in gallery.search(mean / np.linalg.norm(mean)) if hit.id != 2]
    assert ids(answer) == expected and len(expected) == ROWS - 1


def test_filters_threshold_and_exclusions_leave_rows_out(client: TestClient) -> None:
    def search(**fields: object) -> dict:
        return client.post("/v1/search", files=pictures(1), data=fields).json()

    assert set(ids(search(camera="1"))) == {1, 3, 5}
    assert set(ids(search(camera=["0", "1"]))) == set(range(1, 7))
    # after is inclusive, before is not
    assert set(ids(search(after="2027-01-15T09:00:00Z", before="2027-01-15T11:00:00Z"))) == {2, 3}
    none = search(camera="7")
    assert (none["hits"], none["searched"], none["note"]) == ([], 0, "no row fits the filters")
    assert ids(search(threshold="0.999999"))[0] == 1 and len(ids(search(threshold="0.999999"))) < ROWS
    assert set(ids(search(exclude=["1", "2"], top="4"))) == {3, 4, 5, 6}


def test_added_pictures_are_found_and_the_same_one_is_stored_once(client: TestClient) -> None:
    data = {"person": "zoe", "camera": "4", "time": "2027-01-16", "track": "t9"}
    answer = client.post("/v1/rows", files=pictures(20), data=data)
    assert answer.status_code == 201
    (added,) = answer.json()["rows"]
    assert added["added"] is True and added["row"]["id"] == ROWS + 1
    assert added["row"] | {"id": 0} == {
        "id": 0,
        "person": "zoe",
        "camera": 4,
        "time": "2027-01-16T00:00:00Z",
        "track": "t9",
        "source": "20.png",
    }
    again = client.post("/v1/rows", files=pictures(20, 21, 21)).json()["rows"]
    assert [row["added"] for row in again] == [False, True, False]
    assert again[0]["row"] == added["row"]
    assert ids(client.post("/v1/search", files=pictures(20)).json())[0] == ROWS + 1
    thumbnail = client.get(f"/v1/rows/{ROWS + 1}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg" and thumbnail.content[:2] == b"\xff\xd8"
    assert client.get("/v1/info").json()["rows"] == ROWS + 2


@pytest.mark.parametrize(
    ("given", "answered"), [("7", 7), ("0", 0), ("007", "007"), ("1234567890", "1234567890")]
)
def test_a_track_that_is_a_number_is_answered_as_one_unless_it_would_change(
    client: TestClient, given: str, answered: int | str
) -> None:
    (added,) = client.post("/v1/rows", files=pictures(31), data={"track": given}).json()["rows"]
    assert added["row"]["track"] == answered


def test_the_boxes_of_one_frame_become_rows_of_their_own(client: TestClient) -> None:
    files = [("image", ("../../frame.png", png(30, 64, 64)))]
    answer = client.post("/v1/rows", files=files, data={"box": ["0,0,16,32", "16,0,32,32"]}).json()
    assert [row["added"] for row in answer["rows"]] == [True, True]
    assert {row["row"]["source"] for row in answer["rows"]} == {"frame.png"}


def test_an_empty_box_beside_others_is_the_whole_picture(client: TestClient) -> None:
    files = [("image", ("frame.png", png(30, 64, 64)))]
    both = client.post("/v1/embed", files=files, data={"box": ["0,0,16,32", ""]}).json()["features"]
    whole = client.post("/v1/embed", files=files).json()["features"]
    assert both[1] == pytest.approx(whole[0], abs=1e-6) and both[0] != pytest.approx(whole[0], abs=1e-3)
    added = client.post("/v1/rows", files=files, data={"box": ["0,0,16,32", ""]}).json()["rows"]
    again = client.post("/v1/rows", files=files).json()["rows"]
    assert [row["added"] for row in added] == [True, True]
    assert again == [{"row": added[1]["row"], "added": False}]


def test_rows_are_listed_page_by_page(client: TestClient) -> None:
    first = client.get("/v1/rows", params={"limit": 4}).json()
    assert [row["id"] for row in first["rows"]] == [1, 2, 3, 4] and first["next"] == 4
    rest = client.get("/v1/rows", params={"limit": 4, "after_id": 4}).json()
    assert [row["id"] for row in rest["rows"]] == [5, 6] and rest["next"] is None
    assert [row["id"] for row in client.get("/v1/rows", params={"person": "p2"}).json()["rows"]] == [3, 4]
    late = client.get("/v1/rows", params={"camera": 0, "after": "2027-01-15T11:00:00Z"}).json()
    assert [row["id"] for row in late["rows"]] == [4, 6]


def test_a_row_is_confirmed_and_deleted(client: TestClient) -> None:
    assert client.patch("/v1/rows/2", json={"person": "Ann Ö"}).json()["person"] == "Ann Ö"
    assert client.get("/v1/rows/2").json()["person"] == "Ann Ö"
    assert client.patch("/v1/rows/2", json={"person": None}).json()["person"] is None
    assert client.delete("/v1/rows/2").json() == {"deleted": 1}
    for answer in (client.get("/v1/rows/2"), client.delete("/v1/rows/2"), client.get("/v1/rows/2/thumbnail")):
        assert answer.status_code == 404
    assert client.patch("/v1/rows/2", json={"person": "x"}).status_code == 404
    assert client.post("/v1/search", data={"row": "2"}, files=pictures(1)).status_code == 404


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"person": "p1"}, [3, 4, 5, 6]),
        ({"camera": 1}, [2, 4, 6]),
        ({"camera": 1.0}, [2, 4, 6]),
        ({"before": "2027-01-15T10:00:00Z"}, [3, 4, 5, 6]),
    ],
)
def test_rows_are_deleted_by_person_camera_and_time(client: TestClient, what: dict, left: list[int]) -> None:
    assert client.post("/v1/delete", json=what).json() == {"deleted": ROWS - len(left)}
    assert [row["id"] for row in client.get("/v1/rows").json()["rows"]] == left


def test_a_deletion_is_logged_without_the_picture(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.post("/v1/delete", json={"person": "p1"})
    client.delete("/v1/rows/3")
    log = capsys.readouterr().err
    assert "deleted 2 rows" in log and "row 3" in log
    assert "p1" not in log and "secret" not in log


def test_a_thumbnail_is_the_file_below_the_folder_else_the_stored_one_else_a_placeholder(
    start: Start, tmp_path: Path, store: StorePlace, model: Model
) -> None:
    inside, outside = tmp_path / "images", tmp_path / "elsewhere"
    for number, folder in enumerate((inside, outside)):
        folder.mkdir()
        (folder / "a.png").write_bytes(png(40 + number))
    (inside / "link.png").symlink_to(outside / "a.png")
    paths = [inside / "a.png", outside / "a.png", inside / "link.png", inside / ".." / "elsewhere" / "a.png"]
    rows = [
        Row(hashlib.sha256(path.read_bytes()).hexdigest(), str(number), path=str(path))
        for number, path in enumerate(paths)
    ]
    with open_gallery(store) as gallery:
        gallery.add_rows(rows, np.repeat(model.embed([pixels(40)], color="rgb"), 4, axis=0))
    client = start(images=str(inside))
    kinds = {
        number: client.get(f"/v1/rows/{number}/thumbnail").headers["content-type"]
        for number in (2, 7, 8, 9, 10)
    }
    # outside the folder, also by a link or by dots, nothing is read
    assert kinds == {
        2: "image/svg+xml",
        7: "image/jpeg",
        8: "image/svg+xml",
        9: "image/svg+xml",
        10: "image/svg+xml",
    }
    assert client.get("/v1/rows/1/thumbnail").content == b"jpeg of row 1"
    (inside / "a.png").write_bytes(png(50))
    assert client.get("/v1/rows/7/thumbnail").headers["content-type"] == "image/svg+xml", (
        "another picture by now"
    )


def test_health_and_metrics(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True}
    client.post("/v1/search", files=pictures(1))
    text = client.get("/metrics").text
    assert f"reid_gallery_rows {ROWS}.0" in text
    assert 'reid_requests_total{method="POST",route="/v1/search",status="200"} 1.0' in text


def test_a_model_that_gives_other_features_is_not_ready(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Model.embed
    monkeypatch.setattr(
        Model, "embed", lambda *args, **options: np.roll(original(*args, **options), 1, axis=1)
    )
    answer = client.get("/health/ready")
    assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"


def test_the_page_and_its_files_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert client.get("/page/api.js").headers["content-type"].startswith("text/javascript")
    tag = client.get("/page/base.css").headers["etag"]
    assert tag and client.get("/page/base.css").headers["cache-control"] == "no-cache"
    for name in ("..%2f__init__.py", "%2e%2e/app.py", "app.py", "..\\app.py", "a%00.js"):
        assert client.get(f"/page/{name}").status_code == 404
