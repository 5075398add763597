"""Small videos of rendered colours, written with PyAV, and a server that sends one over TCP and hangs up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SIZE = (160, 120)
FPS = 25


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frame `number`: (H, W, 3) uint8 RGB. Each quarter has a colour of its own, which changes with the number."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for quarter in range(4):
        rows = slice(quarter // 2 * height // 2, (quarter // 2 + 1) * height // 2)
        columns = slice(quarter % 2 * width // 2, (quarter % 2 + 1) * width // 2)
        pixels[rows, columns] = (40 + 8 * (number % 25), 50 * quarter + 30, 200 - 40 * quarter)
    return pixels


def write_video(path: Path, count: int, *, size: tuple[int, int] = SIZE, format: str | None = None) -> Path:
    """Write the first `count` frames as a video that keeps their colours nearly, and return its path."""
    import av

    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"qscale": "2"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 5
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@contextmanager
def sending(parts: Sequence[bytes], connected: list[bool] | None = None) -> Iterator[str]:
    """A server that sends one of `parts` to each connection and closes it; after the last one, it refuses connections.

    Yields its URL. Each connection appends to `connected`.
    """
    connected = [] if connected is None else connected
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)

    def serve() -> None:
        with server:
            for part in parts:
                try:
                    connection, _ = server.accept()
                # the server was closed before everything was sent
                except OSError:
                    return
                connected.append(True)
                with connection:
                    connection.sendall(part)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
        thread.join(5)
