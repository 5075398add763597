"""Run the service: open the model and the gallery, listen, and stop at a signal after what was accepted is answered."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from runtime.console import note
from runtime.errors import ConfigError, DeviceError
from runtime.model import Model
from runtime.service.app import create_app
from runtime.service.connections import Connection
from runtime.service.gallery_service import GalleryService, open_service
from runtime.service.settings import Settings
from runtime.stopping import Stopped, stopped

BACKLOG, LAST_PORT = 512, 65535
# How long the answers of accepted requests are waited for when the service stops.
PATIENCE_S = 30
# How long a connection without a request stays open. A client whose next request comes at the end of this time gets no answer.
IDLE_S = 75
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Address:
    """Where the service listens; `port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000


def read_token(path: str) -> str:
    """Return the token in a file. Raises ConfigError for a file without one."""
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(1000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the token cannot be read ({type(error).__name__}); give a text file with it"
        ) from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: give a token of at least {SHORTEST_TOKEN} letters and digits, such as that of: openssl rand -hex 32"
        )
    return token


def listen(address: Address) -> socket.socket:
    """Return a socket that listens on the address. Raises ConfigError if that is not possible."""
    if address.port > LAST_PORT:
        raise ConfigError(f"port={address.port}: give a `port` (--port) up to {LAST_PORT}")
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, target = found[0]
        # asyncio sends small answers at once (TCP_NODELAY) only if the socket names its protocol
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{address.host}:{address.port}: {reason}; give another `host` or `port` (--host, --port)"
        ) from None
    return listener


def make_server(service: GalleryService) -> uvicorn.Server:
    """Return the server of a service. Its `run` takes the sockets to listen on, and closes the gallery at the end."""
    # a form that cannot be read is answered with 400; the parser's own line about it would fill the log
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    config = uvicorn.Config(
        create_app(service),
        http=Connection,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=PATIENCE_S,
        timeout_keep_alive=IDLE_S,
        backlog=BACKLOG,
    )
    return uvicorn.Server(config)


def serve(model: Model, settings: Settings, address: Address, *, started: Callable[[str], None]) -> None:
    """Serve until a signal comes, which is raised as Stopped after the accepted requests are answered.

    `started` is called with the URL of the service. Raises ConfigError for an address that cannot be listened on, and the errors of
    `open_service`.
    """
    with listen(address) as listener:
        server = make_server(open_service(model, settings))
        # waited for in place of the thread: a `join` that a signal interrupts takes a running thread for an ended one
        ended = threading.Event()

        def work() -> None:
            try:
                server.run([listener])
            finally:
                ended.set()

        # beside the main thread, uvicorn leaves the signals alone
        thread = threading.Thread(target=work, name="server", daemon=True)
        thread.start()
        name = f"[{address.host}]" if ":" in address.host else address.host
        try:
            started(f"http://{name}:{listener.getsockname()[1]}/")
            ended.wait()
        except KeyboardInterrupt as error:
            server.should_exit = True
            note("stopping: accepted requests are answered first")
            ended.wait()
            thread.join()
            raise Stopped(stopped(error).number, "every accepted request was answered") from None
        thread.join()
        raise DeviceError("the server ended by itself; its log says why")
