"""The application: all routes of a service with their guards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from runtime.service.counter import Counter
from runtime.service.desk import Desk
from runtime.service.guards import Guard
from runtime.service.problems import add_handlers
from runtime.service.routes import health, page, rows, searching


def create_app(desk: Desk) -> ASGIApp:
    """Return the ASGI application of a service. It closes the gallery when it shuts down."""
    counter = Counter(desk)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        counter.close()
        desk.gallery.close()

    # the pages of FastAPI about the schema load scripts of another host
    app = FastAPI(title="Find this person", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    add_handlers(app)
    app.include_router(searching.routes(counter))
    app.include_router(rows.routes(counter))
    app.include_router(health.routes(counter))
    app.include_router(page.routes())
    return Guard(app, desk.settings, counter.metrics.answered)
