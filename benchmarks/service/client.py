"""A small HTTP client for load: requests are bytes that are made once, and a connection sends them one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
BOUNDARY = "service-measurement"
# How long an answer is waited for.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """The answer to a request. `status` 0 stands for none, and `begun` says whether some of its bytes arrived all the same.

    `sent_s` and `end_s` are the times, by time.monotonic(), when the request was handed over completely (None: it was not) and when
    the answer was complete or the connection broke.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_s: float | None
    end_s: float
    begun: bool = True


class Connection:
    """A connection to the service that opens itself when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and return the answer. A connection that breaks or stays silent gives an answer with status 0."""
        sent: float | None = None
        head = b""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(HOST, self._port)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
            sent = time.monotonic()
            head = await asyncio.wait_for(reader.readexactly(1), PATIENCE_S)
            head += await reader.readuntil(b"\r\n\r\n")
            status, headers = parse_head(head)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            self.close()
            return Answer(0, {}, b"", sent, time.monotonic(), begun=bool(head))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body, sent, time.monotonic())

    def close(self) -> None:
        """Close the connection; the next exchange opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers (names in lower case) of an answer. Raises ValueError for what is no answer."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


def post(path: str, picture: bytes, fields: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a request that sends a picture and other fields as a form."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields
    ]
    parts.append(
        b'Content-Disposition: form-data; name="image"; filename="crop.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"
    )
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + part for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
