"""A service at real sockets: deadlines of connections, signals, and the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runtime.gallery.api import Gallery
from runtime.model import Model
from runtime.service import connections
from tests.fakes.tiny_model import write_model
from tests.runtime.gallery.conftest import Run, run  # noqa: F401
from tests.runtime.service.conftest import PATIENCE_S, png

ROOT = Path(__file__).resolve().parents[3]
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def search_request(*, keep: bool = True) -> bytes:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + png(1)
        + b"\r\n--b--\r\n"
    )
    head = f"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    end = "" if keep else "Connection: close\r\n"
    return f"{head}{end}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode() + body


def rest(sock: socket.socket) -> bytes:
    """What arrives until the service closes the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        # the service drops a connection by a reset, which ends it as well
        pass
    return b"".join(parts)


def answer(sock: socket.socket) -> bytes:
    """The beginning of one answer; the connection stays open."""
    data = b""
    while b'"live":true}' not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    return data


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n",
        search_request()[:-9],
        GET + b"GET /",
    ],
    ids=["nothing", "line", "header", "body", "second"],
)
def test_a_request_that_never_becomes_complete_is_closed(port: int, monkeypatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.1)
    monkeypatch.setattr(connections, "BODY_S", 0.1)
    with closing(connect(port)) as sock:
        sock.sendall(sent)
        assert (b"200 OK" in rest(sock)) == sent.startswith(GET)


def test_more_bytes_do_not_put_the_deadline_off(port: int, monkeypatch) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    with closing(connect(port)) as sock:
        sock.settimeout(0.02)
        closed = False
        while not closed:
            try:
                sock.sendall(b"x")
                closed = sock.recv(1) == b""
            except TimeoutError:
                # the connection is still open
                continue
            except OSError:
                closed = True


def test_a_slow_answer_and_a_quiet_connection_are_not_closed(port: int, monkeypatch) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.1)
    monkeypatch.setattr(connections, "BODY_S", 0.1)
    original, closed = Gallery.find, threading.Event()

    def slow(*args):
        # until another connection has passed both deadlines
        assert closed.wait(PATIENCE_S)
        return original(*args)

    monkeypatch.setattr(Gallery, "find", slow)
    with closing(connect(port)) as good, closing(connect(port)) as quiet:
        quiet.sendall(GET)
        answer(quiet)
        good.sendall(search_request(keep=False))
        for _ in range(2):
            with closing(connect(port)) as bad:
                assert rest(bad) == b""
        quiet.sendall(GET)
        answer(quiet)
        closed.set()
        assert b"200 OK" in rest(good)


def test_a_burst_of_complete_requests_is_answered_even_if_the_service_was_held_up(
    port: int, monkeypatch
) -> None:
    monkeypatch.setattr(connections, "MOST_INCOMPLETE", 3)
    original, go_on = connections.Connection.handle_events, threading.Event()

    def held_up(connection: connections.Connection) -> None:
        assert go_on.wait(PATIENCE_S)
        original(connection)

    monkeypatch.setattr(connections.Connection, "handle_events", held_up)
    burst = [connect(port) for _ in range(12)]
    for sock in burst:
        sock.sendall(GET)
    go_on.set()
    assert all(b"200 OK" in answer(sock) for sock in burst)
    for sock in burst:
        sock.close()


def test_of_too_many_incomplete_requests_the_oldest_is_closed(port: int, monkeypatch) -> None:
    monkeypatch.setattr(connections, "MOST_INCOMPLETE", 3)
    held = []
    for number in range(5):
        held.append(connect(port))
        held[-1].sendall(b"GET / HTTP/1.1\r\n")
        if number >= 3:
            assert rest(held[number - 3]) == b""
    for sock in held[3:]:
        sock.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in rest(sock)
    for sock in held:
        sock.close()


def start_service(*words: str) -> tuple[subprocess.Popen, int]:
    """`python -m runtime serve` in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", "serve", *words, "--port", "0", "--threads", "1"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.communicate()
    return process, int(url.rstrip("/").rpartition(":")[2])


def test_sigterm_answers_what_was_accepted_and_closes_the_gallery(model: Model, store: Path) -> None:
    process, port = start_service("--store", str(store), "--model", str(model.artifact.path))
    with closing(connect(port)) as half, closing(connect(port)) as quiet, closing(connect(port)) as idle:
        idle.sendall(GET)
        answer(idle)
        request = search_request()
        half.sendall(request[:-20])
        quiet.sendall(b"GET / HT")
        # the answer shows that the service has seen all of the above
        with closing(connect(port)) as last:
            last.sendall(GET)
            answer(last)
        process.send_signal(signal.SIGTERM)
        assert rest(idle) == b""
        half.sendall(request[-20:])
        assert b"200 OK" in rest(half)
        assert rest(quiet) == b""
    _, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert "every accepted request was answered" in log and "Traceback" not in log
    assert not [path for path in store.iterdir() if path.name.endswith("-wal") and path.stat().st_size]


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("--host", "0.0.0.0"), 2, "--token-file"),
        (("--host", "0.0.0.0", "--token-file", "SHORT"), 2, "at least 16"),
        (("--token-file", "MISSING"), 2, "token"),
        (("--host", "192.0.2.1", "--token-file", "TOKEN"), 2, "--host"),
        (("--port", "USED"), 2, "--port"),
        (("--port", "99999"), 2, "--port"),
        (("--model", "OTHER"), 4, "another embedding space"),
        (("--model", "MISSING"), 4, "no such file"),
    ],
)
def test_a_service_that_cannot_start_says_why(
    run: Run,  # noqa: F811
    tmp_path: Path,
    model: Model,
    store: Path,
    port: int,
    words: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    (tmp_path / "short").write_text("abc")
    (tmp_path / "token").write_text("0123456789abcdef\n")
    known = {
        "SHORT": tmp_path / "short",
        "TOKEN": tmp_path / "token",
        "MISSING": tmp_path / "missing",
        "USED": port,
        "OTHER": write_model(tmp_path / "other.onnx", dim=5),
    }
    given = [str(known.get(word, word)) for word in words]
    options = ["--store", store, "--model", model.artifact.path, "--port", "0", *given]
    got, _, said = run("serve", *options)
    assert got == code and word in said and "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
