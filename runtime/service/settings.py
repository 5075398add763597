"""What the service is given when it starts, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """How much the service takes.

    `body` and `image` are the most bytes of a request with pictures and of one picture, `text` those of any other request, and
    `bodies` those of all requests that arrive or are served at a time. `images` is the most pictures or stored rows of a request,
    `boxes` the most boxes of one frame, and `fields` the most form fields, of `field` bytes each. `top` is the most hits or rows of an
    answer. `queue` requests that need the model are accepted at a time. `window_s` is how long the model waits for other requests to
    fill its batch.
    """

    body: int = 32 << 20
    image: int = 16 << 20
    text: int = 64 << 10
    bodies: int = 256 << 20
    images: int = 8
    boxes: int = 64
    fields: int = 400
    field: int = 1000
    top: int = 200
    queue: int = 32
    window_s: float = 0.003


@dataclass(frozen=True)
class Settings:
    """What a service is started with.

    `store` is the folder of the gallery, or the address of a server. `images` is a folder: pictures of rows whose stored path lies
    below it are shown from there (None: from the stored thumbnails only). `hosts` are the names under which a browser may address the
    service. `token` is what each request has to bring along (None: nothing).
    """

    store: str = field(repr=False)
    images: str | None = None
    hosts: tuple[str, ...] = ()
    token: str | None = None
    limits: Limits = field(default_factory=Limits)
