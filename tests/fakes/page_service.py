"""A stand-in for the service, for tests of its page alone: it answers every /v1 route that the page calls, from plain rows.

Row n of the gallery has the similarity 1 - n / 100 to every query, so that tests know the order and the values of all results.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from PIL import Image

PAGE = Path(__file__).resolve().parents[2] / "runtime" / "service" / "page"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
THRESHOLD = {
    "id": 2,
    "similarity": 0.9,
    "false_match_rate": 0.01,
    "bound": 0.014,
    "enrolled": 100,
    "curve": [
        [0.96, 0.0, 0.004],
        [0.93, 0.002, 0.006],
        [0.90, 0.01, 0.014],
        [0.85, 0.1, 0.12],
        [0.80, 0.4, 0.45],
    ],
}


def row(number, **more):
    """Row `number` as the service writes it: cameras 0 to 3 in turn, ten minutes apart, every fourth with a person."""
    time = f"2026-11-27T{8 + number // 6:02d}:{number % 6}0:00Z" if number < 90 else None
    plain = {"id": number, "person": "0042" if number % 4 == 0 else None, "camera": number % 4, "time": time}
    return plain | {"track": None, "source": f"{number:04d}.jpg"} | more


def picture(width=64, height=128, colour=(40, 90, 160), kind="JPEG"):
    """The bytes of a plain picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    return file.getvalue()


@dataclass
class Service:
    """What the stand-in holds, and what it was asked: `requests` has (method, path, fields) of every call below /v1."""

    rows: dict = field(default_factory=lambda: {number: row(number) for number in range(1, 31)})
    gallery: str = "one"
    threshold: dict | None = field(default_factory=lambda: deepcopy(THRESHOLD))
    token: str | None = None
    writable: bool = True
    problems: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    url: str = ""

    def asked(self, method, path):
        """The fields of the calls of a route, oldest first."""
        return [fields for one, other, fields in self.requests if (one, other) == (method, path)]

    def info(self):
        """The answer of /v1/info."""
        rows = list(self.rows.values())
        cameras = sorted({one["camera"] for one in rows} - {None})
        times = sorted(one["time"] for one in rows if one["time"])
        return {
            "gallery": self.gallery,
            "rows": len(rows),
            "people": len({one["person"] for one in rows} - {None}),
            "cameras": [{"camera": c, "rows": sum(one["camera"] == c for one in rows)} for c in cameras],
            "first": times[0] if times else None,
            "last": times[-1] if times else None,
            "model": {"name": "fake", "width": 128, "height": 256, "dimension": 8},
            "calibration": {"site": None, "threshold": self.threshold},
            "limits": {"bytes": 100_000, "images": 3, "top": 200},
            "writable": self.writable,
            "thumbnails": True,
        }

    def fitting(self, fields):
        """The rows that fit the filters of a call."""
        cameras = {int(camera) for camera in fields.get("camera", [])}
        after, before = (fields.get(name, [""])[0] for name in ("after", "before"))
        person = fields.get("person", [None])[0]
        for one in self.rows.values():
            inside = (not after or (one["time"] or "") >= after) and (
                not before or (one["time"] or "~") < before
            )
            if inside and (not cameras or one["camera"] in cameras) and person in (None, one["person"]):
                yield one

    def search(self, fields):
        """The answer of /v1/search."""
        rows = list(self.fitting(fields))
        excluded = {int(number) for number in fields.get("exclude", [])}
        hits = [self.hit(one) for one in rows if one["id"] not in excluded][: int(fields["top"][0])]
        return {"searched": len(rows), "rows": len(self.rows), "hits": hits, "note": None}

    def hit(self, one):
        """A result: all numbers of a calibration are None without one."""
        similarity = round(1 - one["id"] / 100, 2)
        rate, bound = next(
            (
                (rate, bound)
                for at, rate, bound in (self.threshold or {"curve": []})["curve"]
                if at <= similarity
            ),
            (0.9, 0.95) if self.threshold else (None, None),
        )
        known = self.threshold is not None
        return {
            "row": one,
            "similarity": similarity,
            "accepted": similarity >= self.threshold["similarity"] if known else None,
            "false_match_rate": rate,
            "bound": bound,
            "probability": similarity if known else None,
        }

    def answer(self, method, path, fields):
        """(status, JSON value or JPEG bytes) of a call below /v1."""
        if (method, path) == ("GET", "/v1/info"):
            return 200, self.info()
        if (method, path) == ("GET", "/v1/rows"):
            start, limit = int(fields.get("after_id", [0])[0]), int(fields["limit"][0])
            rows = [one for one in self.fitting(fields) if one["id"] > start]
            return 200, {"rows": rows[:limit], "next": rows[limit - 1]["id"] if len(rows) > limit else None}
        if (method, path) == ("POST", "/v1/search"):
            return 200, self.search(fields)
        if (method, path) == ("POST", "/v1/delete"):
            gone = [number for number, one in self.rows.items() if one["person"] == fields["person"]]
            for number in gone:
                del self.rows[number]
            return 200, {"deleted": len(gone)}
        found = re.fullmatch(r"/v1/rows/(\d+)(/thumbnail)?", path)
        if not found or int(found[1]) not in self.rows:
            return 404, {"title": "Not Found", "status": 404, "detail": "There is no such row."}
        number = int(found[1])
        if found[2]:
            return 200, picture(colour=(number * 7 % 256, 120, 90))
        if method == "PATCH":
            self.rows[number]["person"] = fields["person"]
        if method == "DELETE":
            del self.rows[number]
            return 200, {"deleted": 1}
        return 200, self.rows[number]


def _form(kind, body):
    """The fields of a multipart form; a file becomes (name, bytes)."""
    fields = {}
    for part in (
        BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body).get_payload()
    ):
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        value = (part.get_filename(), data) if part.get_filename() else data.decode()
        fields.setdefault(name, []).append(value)
    return fields


def _handler(service):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send(self, status, body, kind, **headers):
            self.send_response(status)
            policy = {"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff"}
            for name, value in (
                {"Content-Type": kind, "Content-Length": len(body)} | policy | headers
            ).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def handle_call(self):
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if address.path == "/":
                return self.send(200, (PAGE / "index.html").read_bytes(), "text/html; charset=utf-8")
            if address.path.startswith("/page/"):
                file = PAGE / address.path.removeprefix("/page/")
                return self.send(200, file.read_bytes(), TYPES[file.suffix])
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/"):
                fields = _form(kind, body)
            else:
                fields = json.loads(body) if body else parse_qs(address.query)
            service.requests.append((self.command, address.path, fields))
            headers = {}
            if service.token and self.headers.get("Authorization") != f"Bearer {service.token}":
                status, value = 401, {"title": "Unauthorized", "status": 401, "detail": "A token is needed."}
            elif service.problems and service.problems[0][0] == address.path:
                _, status, value, headers = service.problems.pop(0)
            else:
                status, value = service.answer(self.command, address.path, fields)
            if isinstance(value, bytes):
                return self.send(status, value, "image/jpeg")
            kind = "application/json" if status < 400 else "application/problem+json"
            return self.send(status, json.dumps(value).encode(), kind, **headers)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_call

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Print the error, unless the browser has closed the connection, as it does when a page is left."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, address)


@contextmanager
def served(service):
    """Serve `service` on a free port of this machine; `service.url` says where."""
    server = _Server(("127.0.0.1", 0), _handler(service))
    service.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
