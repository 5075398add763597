"""What the service refuses, and how: limits, hosts, origins, tokens and bad requests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from runtime.errors import ArtifactError, StorageError
from runtime.gallery.api import Gallery, open_gallery
from runtime.model import Model
from runtime.service.gallery_service import open_service
from runtime.service.guards import is_loopback, known_hosts
from runtime.service.settings import Settings
from tests.fakes.tiny_model import write_model
from tests.runtime.service.conftest import Start, pictures

TOKEN = "0123456789abcdef0123"


def refused(answer, status: int, word: str = "") -> None:
    """`answer` is a problem document with this status; its detail has the word, and no path."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail"} and document["status"] == status
    assert word in document["detail"] and "/" not in document["detail"].replace("multipart/form-data", "")


def huge(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("files", "data", "status", "word"),
    [
        ([], {}, 415, "form"),
        ([("image", ("x.png", b""))], {}, 422, "empty"),
        ([("image", ("/etc/x.gif", b"GIF89a"))], {}, 422, "known kind"),
        ([("image", ("big.png", huge(6000, 6000)))], {}, 422, "megapixels"),
        (pictures(1), {"box": "0,0,5,5"}, 422, "box 0"),
        (pictures(1), {"box": "nan,0,5,5"}, 422, "box 0"),
        (pictures(1), {"box": "1,2,3"}, 422, "x1,y1,x2,y2"),
        (pictures(1), {"box": ["0,0,9,9", "0,0,9,9"]}, 422, "boxes"),
        (pictures(1), {"top": "0"}, 422, "top"),
        (pictures(1), {"top": "201"}, 422, "200"),
        (pictures(1), {"top": ["1", "2"]}, 422, "once"),
        (pictures(1), {"row": "9" * 30}, 422, "row"),
        (pictures(1), {"camera": "-1"}, 422, "camera"),
        (pictures(1), {"threshold": "nan"}, 422, "threshold"),
        (pictures(1), {"after": "yesterday"}, 422, "no time"),
        (pictures(1), {"after": "2027-01-01T10:00:00"}, 422, "time zone"),
        (pictures(1), {"url": "http:169.254.169.254"}, 422, "unknown field"),
        ([("image", (None, "file:etc"))], {}, 422, "as a file"),
        (pictures(*range(9)), {}, 422, "Maximum number"),
        (pictures(1, 2, 3, 4, 5, 6, 7, 8), {"row": "1"}, 422, "1 to 8"),
        ([("row", (None, "1"))] * 500, {}, 422, "fields"),
        ([("after", (None, "2" * 2000))], {}, 413, "maximum size"),
    ],
)
def test_a_bad_search_is_refused_by_name(client: TestClient, files, data, status: int, word: str) -> None:
    refused(client.post("/v1/search", files=files, data=data), status, word)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/rows/0", None, 422),
        ("GET", f"/v1/rows/{1 << 70}", None, 422),
        ("GET", "/v1/rows/..%2f..", None, 404),
        ("GET", "/v1/rows?limit=201", None, 422),
        ("GET", "/v1/rows?person=%00", None, 422),
        ("PATCH", "/v1/rows/1", "{}", 422),
        ("PATCH", "/v1/rows/1", '{"person": ""}', 422),
        ("PATCH", "/v1/rows/1", '{"person": "a\\u0000b"}', 422),
        ("PATCH", "/v1/rows/1", '{"person": "\\ud800"}', 422),
        ("PATCH", "/v1/rows/1", '{"person": "a\\n"}', 422),
        ("PATCH", "/v1/rows/1", '{"person": "\\u202eann"}', 422),
        ("POST", "/v1/delete", '{"camera": true}', 422),
        ("POST", "/v1/delete", '{"camera": 1.5}', 422),
        ("PATCH", "/v1/rows/1", '{"person": "x", "camera": 1}', 422),
        ("PATCH", "/v1/rows/1", "[" * 60_000, 400),
        ("POST", "/v1/delete", "{}", 422),
        ("POST", "/v1/delete", '{"person": "p1", "camera": 1}', 422),
        ("POST", "/v1/delete", '{"person": null}', 422),
        ("POST", "/v1/delete", '{"before": "never"}', 422),
        ("POST", "/v1/rows", "{}", 415),
        ("PUT", "/v1/info", None, 405),
        ("GET", "/nothing", None, 404),
    ],
)
def test_a_bad_request_is_a_problem_document(
    client: TestClient, method: str, path: str, body, status: int
) -> None:
    answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(client.get("/v1/rows").json()["rows"]) == 6, "nothing was deleted"


def test_another_method_is_told_all_that_a_path_takes(client: TestClient) -> None:
    assert client.put("/v1/rows/1").headers["allow"] == "DELETE, GET, PATCH"
    assert client.request("OPTIONS", "/v1/rows").headers["allow"] == "GET, POST"


def test_bodies_are_limited_by_their_length_and_as_they_arrive(start: Start) -> None:
    client = start(limits={"body": 10_000, "image": 2000, "text": 100})
    refused(client.post("/v1/search", files=[("image", ("x.png", bytes(20_000)))]), 413, "10000")
    refused(client.post("/v1/search", files=[("image", ("x.png", bytes(3000)))]), 413, "picture")
    refused(client.patch("/v1/rows/1", json={"person": "x" * 150}), 413, "100")

    # without a Content-Length
    def parts():
        for _ in range(30):
            yield bytes(1000)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(client.post("/v1/search", content=parts(), headers=kind), 413, "10000")
    refused(client.patch("/v1/rows/1", content=parts(), headers={"Content-Type": "application/json"}), 413)


def test_all_bodies_together_are_limited(start: Start) -> None:
    client = start(limits={"bodies": 5000})
    answer = client.post("/v1/search", files=[("image", ("x.png", bytes(6000)))])
    refused(answer, 503, "busy")
    assert answer.headers["retry-after"]
    # what was refused is not held any longer
    assert client.post("/v1/search", files=pictures(1)).status_code == 200


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    refused(client.post("/v1/search", content=b"x", headers={"Content-Encoding": "gzip"}), 415, "compressed")


def test_only_known_host_names_are_answered(start: Start) -> None:
    client = start(hosts=known_hosts("127.0.0.1", ("Reid.Example",)))
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "reid.example:8000"):
        assert client.get("/health/live", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""):
        refused(client.get("/health/live", headers={"Host": host}), 421, "host name")


def test_a_service_on_all_addresses_is_answered_at_any_address_but_not_at_any_name(start: Start) -> None:
    client = start(hosts=known_hosts("0.0.0.0", ()))
    assert client.get("/health/live", headers={"Host": "10.0.0.1:8000"}).status_code == 200
    assert client.get("/health/live", headers={"Host": "[fe80::1]:8000"}).status_code == 200
    refused(client.get("/health/live", headers={"Host": "evil.example"}), 421)


def test_pages_of_other_sites_change_nothing_and_get_no_permission(client: TestClient) -> None:
    other = {"Origin": "http://evil.example"}
    refused(client.post("/v1/delete", json={"person": "p1"}, headers=other), 403, "other sites")
    refused(client.post("/v1/rows", files=pictures(9), headers={"Origin": "null"}), 403)
    assert client.delete("/v1/rows/1", headers={"Origin": "http://localhost"}).status_code == 200
    allowed = client.get("/v1/info", headers=other)
    assert not [name for name in allowed.headers if name.startswith("access-control")]


def test_a_token_is_needed_for_everything_about_people(start: Start) -> None:
    client = start(token=TOKEN)
    for path in ("/v1/info", "/v1/rows", "/v1/rows/1/thumbnail", "/metrics"):
        for given in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = client.get(path, headers=given)
            refused(answer, 401, "token")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for path in ("/", "/page/api.js", "/health/live", "/health/ready"):
        assert client.get(path).status_code == 200


def test_a_full_queue_answers_503_and_thumbnails_go_on(start: Start) -> None:
    client = start(limits={"queue": 0})
    for path, files in (("search", pictures(1)), ("embed", pictures(1)), ("rows", pictures(9))):
        answer = client.post(f"/v1/{path}", files=files)
        refused(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/v1/rows/1/thumbnail").status_code == 200


def test_a_failure_of_the_gallery_is_told_without_its_path(client: TestClient, monkeypatch, capsys) -> None:
    def fail(*args: object, **options: object) -> None:
        raise StorageError("/secret/gallery: broken")

    monkeypatch.setattr(Gallery, "find", fail)
    refused(client.post("/v1/search", files=pictures(1)), 500, "log")
    assert "/secret/gallery: broken" in capsys.readouterr().err
    monkeypatch.setattr(Gallery, "find", lambda *args: 1 / 0)
    refused(client.post("/v1/search", files=pictures(1)), 500, "log")


def test_every_answer_has_the_headers_of_safety(client: TestClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/v1/info"),
        client.get("/nothing"),
        client.get("/v1/rows/99"),
    ):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/v1/info").headers["cache-control"] == "no-store"


def test_another_models_gallery_is_refused_and_a_missing_one_is_made(
    tmp_path: Path, model: Model, store: Path
) -> None:
    from runtime import open_model

    other = open_model(write_model(tmp_path / "other.onnx", dim=5))
    with pytest.raises(ArtifactError, match="another embedding space"):
        open_service(other, Settings(str(store)))
    service = open_service(other, Settings(str(tmp_path / "new")))
    assert service.info()["rows"] == 0
    service.gallery.close()
    with open_gallery(tmp_path / "new") as gallery:
        assert gallery.space.model == other.sha256


def test_an_empty_gallery_has_no_hits(tmp_path: Path, start: Start) -> None:
    client = start()
    client.post("/v1/delete", json={"before": "2100-01-01"})
    answer = client.post("/v1/search", files=pictures(1)).json()
    assert (answer["hits"], answer["rows"]) == ([], 0)


def test_opposite_pictures_have_no_mean(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start()
    one = np.eye(1, 6, dtype=np.float32)
    monkeypatch.setattr(Model, "embed", lambda *args, **options: np.concatenate([one, -one]))
    refused(client.post("/v1/search", files=pictures(1, 2)), 422, "in common")


def test_loopback_addresses_are_recognised() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "")))


def test_the_schema_describes_every_route(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    routes = {f"{method.upper()} {path}" for path, item in schema["paths"].items() for method in item}
    assert routes == {
        "GET /v1/info",
        "GET /v1/calibration",
        "POST /v1/search",
        "POST /v1/embed",
        "GET /v1/rows",
        "POST /v1/rows",
        "GET /v1/rows/{id}",
        "PATCH /v1/rows/{id}",
        "DELETE /v1/rows/{id}",
        "GET /v1/rows/{id}/thumbnail",
        "POST /v1/delete",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    }
    json.dumps(schema)
    assert client.get("/docs").status_code == 404, "its scripts come from another host"
