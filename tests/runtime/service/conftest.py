"""A service with a tiny model, a small gallery and a client, all in this process."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from runtime import open_model
from runtime.gallery.api import open_gallery
from runtime.gallery.store.rows import Row
from runtime.model import Model
from runtime.options.store_place import StorePlace
from runtime.service.app import create_app
from runtime.service.gallery_service import open_service
from runtime.service.guards import known_hosts
from runtime.service.server import Address, listen, make_server
from runtime.service.settings import Limits, Settings
from tests.fakes.tiny_model import write_model
from tests.runtime.gallery.conftest import at, on_server, server  # noqa: F401

ROWS = 6
# Nothing waits so long but in a failing test.
PATIENCE_S = 60
# The time of the first row; each further one is an hour later.
FIRST_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
Place = TypeVar("Place", bound=StorePlace)
Start = Callable[..., TestClient]


def pixels(seed: int, height: int = 32, width: int = 16) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def png(seed: int, height: int = 32, width: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed, height, width)).save(stream, "PNG")
    return stream.getvalue()


def pictures(*seeds: int) -> list[tuple[str, tuple[str, bytes]]]:
    """The files of a form: one picture for each seed. Row N of the gallery shows the picture of the seed N."""
    return [("image", (f"{seed}.png", png(seed))) for seed in seeds]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_model(tmp_path_factory.mktemp("service") / "m.onnx"), threads=1)


@pytest.fixture
def store(tmp_path: Path, model: Model) -> Path:
    """A gallery of `filled` in a folder."""
    return filled(tmp_path / "gallery", model)


def filled(place: Place, model: Model) -> Place:
    """Make a gallery with six rows of three people in two cameras; the first has a thumbnail."""
    seeds = range(1, ROWS + 1)
    features = model.embed([pixels(seed) for seed in seeds], color="rgb")
    rows = [
        Row(
            f"{seed:064x}",
            "",
            seed % 2,
            FIRST_US + (seed - 1) * HOUR_US,
            str(seed),
            f"p{(seed + 1) // 2}",
            f"/secret/folder/{seed}.png",
        )
        for seed in seeds
    ]
    with open_gallery(place, model=model) as gallery:
        gallery.add_rows(rows, features, [b"jpeg of row 1", *[b""] * (ROWS - 1)])
    return place


@pytest.fixture
def start(model: Model, store: StorePlace) -> Iterator[Start]:
    """Start a service with some settings and limits, and return a client of it."""
    with ExitStack() as stack:

        def begin(*, limits: dict[str, Any] | None = None, **settings: Any) -> TestClient:
            given = {"hosts": known_hosts("127.0.0.1", ())} | settings
            service = open_service(model, Settings(str(store), limits=Limits(**(limits or {})), **given))
            client = TestClient(create_app(service), "http://localhost", raise_server_exceptions=False)
            return stack.enter_context(client)

        yield begin


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()


@pytest.fixture
def port(store: Path, model: Model) -> Iterator[int]:
    """A service in a thread of this process."""
    service = open_service(model, Settings(str(store), hosts=known_hosts("127.0.0.1", ())))
    with listen(Address(port=0)) as listener:
        server = make_server(service)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE_S)
