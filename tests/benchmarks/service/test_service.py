"""The measurement of the service: its client, its loads, and the sums of what happened."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from benchmarks.service import trickling
from benchmarks.service.cli import parse
from benchmarks.service.client import Answer, Connection, parse_head, post
from benchmarks.service.load import Exchange, Load, closed_loop, open_loop
from benchmarks.service.material import marked
from benchmarks.service.overload import recovery
from benchmarks.service.process import Use
from benchmarks.service.report import faults
from benchmarks.service.soaking import trends
from benchmarks.service.stops import Sent, Stops, _count
from benchmarks.service.trickling import _beside, _trickle
from runtime.errors import ConfigError
from runtime.images.decode import decode


@contextmanager
def server(*, refuse_every: int = 0, silent: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers 200 with the body it got, and every so often 503; silent, it closes after the first byte of an answer."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(body)
            if silent:
                self.wfile.write(b"HTTP/1.1 2")
                self.close_connection = True
                return
            refused = bool(refuse_every) and len(bodies) % refuse_every == 0
            self.send_response(503 if refused else 200)
            if refused:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http.server_port, bodies
        http.shutdown()
        thread.join()


def jpeg(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 32, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def answer(status: int, *, sent_s: float | None = 1.0, begun: bool = True, **headers: str) -> Answer:
    return Answer(status, headers, b"", sent_s, 2.0, begun)


def exchange(due_s: float, ms: float, status: int = 200) -> Exchange:
    return Exchange(0, due_s, due_s + ms / 1000, answer(status))


def test_a_connection_sends_form_after_form():
    with server() as (port, bodies):

        async def twice() -> list[Answer]:
            connection = Connection(port)
            answers = [
                await connection.exchange(post("/v1/search", b"pixels", [("top", str(top))]))
                for top in (3, 4)
            ]
            connection.close()
            return answers

        answers = asyncio.run(twice())
    assert [one.status for one in answers] == [200, 200]
    assert [one.body for one in answers] == bodies
    assert b'name="top"\r\n\r\n4\r\n' in bodies[1] and b"\r\n\r\npixels\r\n--" in bodies[1]


def test_a_cut_answer_and_a_closed_port_are_told_apart():
    with server(silent=True) as (port, _):
        cut = asyncio.run(Connection(port).exchange(post("/", b"")))
    gone = asyncio.run(Connection(port).exchange(post("/", b"")))
    assert (cut.status, cut.begun, cut.sent_s is not None) == (0, True, True)
    assert (gone.status, gone.begun, gone.sent_s) == (0, False, None)


def test_head_of_an_answer():
    assert parse_head(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nX: a:b\r\n\r\n") == (
        503,
        {"retry-after": "1", "x": "a:b"},
    )
    with pytest.raises(ValueError):
        parse_head(b"\x16\x03\x01 garbage\r\n\r\n")


def test_loads_count_what_the_server_answers():
    with server(refuse_every=4) as (port, bodies):
        load = asyncio.run(open_loop(port, lambda number: post("/", b"x"), rate=200, seconds=0.5))
        sent = len(bodies)
        busy = asyncio.run(closed_loop(port, lambda number: post("/", b"x"), connections=3, seconds=0.2))
    assert sum(load.statuses().values()) == sent and load.statuses()["503"] == sent // 4
    assert len(load.good()) == load.statuses()["200"]
    assert 50 < sent < 160, "an exponential clock of 200 requests a second for half a second"
    assert sorted(one.number for one in busy.exchanges) == list(range(len(busy.exchanges)))


def test_latency_counts_from_when_a_request_was_due():
    load = Load(
        2.0, exchanges=[exchange(0.1 * n, 100 * (n + 1)) for n in range(10)] + [exchange(0, 5000, 503)]
    )
    assert load.statuses() == {"200": 10, "503": 1}
    assert load.percentiles()["p50"] == pytest.approx(500, abs=101)
    assert load.percentiles()["p99"] == pytest.approx(1000)
    assert load.rate() == 5.0
    assert Load(1.0).percentiles() == {"p50": None, "p95": None, "p99": None}


def test_recovery_ends_with_the_last_bad_half_second():
    before = Load(1.0, exchanges=[exchange(0.1 * n, 10) for n in range(10)])
    slow = [
        exchange(0.1, 10, 503),
        exchange(1.2, 50),
        exchange(1.3, 50),
        exchange(1.6, 11),
        exchange(2.6, 12),
    ]
    assert recovery(before, Load(3.0, exchanges=slow)) == 1.5
    assert recovery(before, before) == 0.0


def test_the_slope_of_the_memory_leaves_out_the_warm_up():
    uses = [(float(s), Use(int(1e8 + (5e7 if s < 20 else 1e5 * s)), 10 + s % 2, 7, 0.0)) for s in range(100)]
    found = trends(uses, 100)
    assert found["memory_mb_10_min"] == pytest.approx(60)
    assert (found["descriptors"], found["threads"]) == ([10, 11], [7, 7])
    assert found["memory_mb"] == pytest.approx([102, 109.9])


def test_what_a_stop_loses_is_counted():
    result = Stops()
    sent = [
        Sent(None, answer(200)),
        Sent("a", answer(201)),
        Sent("b", answer(201)),
        Sent("c", answer(0, begun=False, sent_s=1.0)),
        Sent(None, answer(0, begun=True)),
        Sent(None, answer(0, begun=False, sent_s=4.9)),
    ]
    _count(result, sent, 5.0, frozenset({"a", "c"}))
    assert vars(result) == vars(Stops(answered=3, lost=1, cut=1, closed=1, added=2, added_lost=1, unknown=1))


def test_a_marked_picture_is_another_file_with_the_same_pixels():
    picture = jpeg()
    other = marked(picture, "number 7")
    assert hashlib.sha256(other).digest() != hashlib.sha256(picture).digest()
    assert np.array_equal(decode(other).pixels, decode(picture).pixels)


def test_a_trickling_connection_notices_that_it_was_closed():
    async def both() -> tuple[bool, bytes]:
        got: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.read(1000))
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        closed_by_us = await _trickle(port, asyncio.Event())
        listener.close()
        return closed_by_us, got[0]

    closed_by_us, got = asyncio.run(both())
    assert closed_by_us and got.startswith(b"POST /v1/search") and b"\r\n\r\n" not in got


def test_every_closed_trickling_connection_is_counted(monkeypatch):
    monkeypatch.setattr(trickling, "EVERY_S", 0.05)

    async def run() -> tuple[int, int]:
        opened = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            await asyncio.sleep(0.05)
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        _, closed = await _beside(port, lambda number: post("/", b""), 0.01, 0.01, 8)
        listener.close()
        return opened, closed

    opened, closed = asyncio.run(run())
    assert closed == opened >= 8


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ({"soak": {"load": {"statuses": {"200": 5, "500": 2}}}}, "soak: 2 x 500"),
        ({"overload": {"load": {"statuses": {"200": 1, "503": 9}}, "without_retry_after": 3}}, "Retry-After"),
        ({"overload": {"load": {"statuses": {"none": 1}}, "without_retry_after": 0}}, "overload: 1 x none"),
        ({"stop": {"lost": 0, "cut": 0, "added_lost": 4}}, "stop: added_lost 4"),
        ({"search": [{"loaded": {"statuses": {"503": 1}}}]}, "search: 1 x 503"),
    ],
)
def test_faults_of_the_server_are_named(results, text):
    (found,) = faults(results)
    assert text in found


def test_no_fault_is_no_fault():
    load = {"statuses": {"200": 5}}
    results = {
        "search": [{"loaded": load}],
        "soak": {"load": load},
        "overload": {"load": {"statuses": {"200": 5, "503": 9}}, "without_retry_after": 0},
        "stop": {"lost": 0, "cut": 0, "added_lost": 0, "closed": 7, "unknown": 1},
        "trickle": {"without": load, "beside": load},
    }
    assert faults(results) == []


def test_an_unknown_measurement_is_refused():
    with pytest.raises(ConfigError, match="soak"):
        parse(["sok", "--model", "m.onnx"])
    assert parse(["--model", "m.onnx"]).measurements == ("search", "soak", "overload", "stop", "trickle")
