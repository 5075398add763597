"""Routes for whoever runs the service: health and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from runtime.console import note
from runtime.errors import UserError
from runtime.service.metrics import MEDIA
from runtime.service.problems import Refused, responses
from runtime.service.scheduler import Scheduler


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The service can search."""

    ready: bool


def routes(scheduler: Scheduler) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live", responses=responses(421))
    async def live() -> Live:
        return Live(live=True)

    @router.get("/health/ready", responses=responses(421, 503))
    async def ready() -> Ready:
        """Whether a fixed test pattern has the feature that it had at the start (cosine 0.999), and the gallery can be read."""
        try:
            good = await scheduler.ready()
        except UserError as error:
            # the message may name a folder of this machine, so it goes to the log only
            note(f"not ready: {error}")
            good = False
        if not good:
            raise Refused(503, "The model or the gallery fails; restart the service.")
        return Ready(ready=True)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={**responses(401, 421), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """The numbers of the service in the text format of Prometheus."""
        return Response(await scheduler.light(scheduler.metrics.text), media_type=MEDIA)

    return router
