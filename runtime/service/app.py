"""The application: all routes of a service with their guards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from runtime.service.gallery_service import GalleryService
from runtime.service.guards import Guard
from runtime.service.problems import add_handlers
from runtime.service.routes import health, page, rows, searching
from runtime.service.scheduler import Scheduler


def create_app(service: GalleryService) -> ASGIApp:
    """Return the ASGI application of a service. It closes the gallery when it shuts down."""
    scheduler = Scheduler(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        scheduler.close()
        service.gallery.close()

    # the pages of FastAPI about the schema load scripts of another host
    app = FastAPI(title="Find this person", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    add_handlers(app)
    app.include_router(searching.routes(scheduler))
    app.include_router(rows.routes(scheduler))
    app.include_router(health.routes(scheduler))
    app.include_router(page.routes())
    return Guard(app, service.settings, scheduler.metrics.answered)
