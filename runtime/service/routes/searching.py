"""Routes that need the model or answer about searches: info, calibration, search and embed."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from runtime.service.answers import calibration_json, features_json
from runtime.service.forms import read_form
from runtime.service.problems import Refused, responses
from runtime.service.routes import schemas
from runtime.service.scheduler import Scheduler

PICTURES = responses(400, 401, 403, 404, 413, 415, 421, 422, 503)
SEARCH_FIELDS = ("image", "box", "row", "camera", "after", "before", "top", "threshold", "exclude")


def routes(scheduler: Scheduler) -> APIRouter:
    """Return the routes."""
    router, service = APIRouter(prefix="/v1", tags=["search"]), scheduler.service
    limits = service.settings.limits

    @router.get("/info", responses=responses(401, 421), response_model=schemas.Info)
    async def info() -> Any:
        """What the gallery holds, and what the service takes."""
        return await scheduler.light(service.info)

    @router.get("/calibration", responses=responses(401, 421), response_model=schemas.Calibration)
    async def calibration() -> Any:
        """The calibrations that a search applies."""
        return await scheduler.light(lambda: calibration_json(service.gallery.calibration))

    @router.post(
        "/search",
        responses=PICTURES,
        response_model=schemas.SearchResult,
        openapi_extra=schemas.form(schemas.SEARCH_FORM, "image", "row"),
    )
    async def search(request: Request) -> Any:
        """Find the rows nearest to one person, who is shown by pictures, by stored rows, or by both."""
        form = await (await read_form(request, limits, SEARCH_FIELDS)).search()
        with scheduler.accepted():
            features = await scheduler.features(await scheduler.crops(form.pictures))
            return await scheduler.heavy(partial(service.search, form, features))

    @router.post(
        "/embed",
        responses=PICTURES,
        response_model=schemas.Features,
        openapi_extra=schemas.form(schemas.EMBED_FORM, "image"),
    )
    async def embed(request: Request) -> Any:
        """The features of crops, or of the boxes of one frame."""
        pictures = await (await read_form(request, limits, ("image", "box"))).pictures(per_picture=False)
        if not pictures:
            raise Refused(422, "image: give at least one picture")
        with scheduler.accepted():
            return features_json(await scheduler.features(await scheduler.crops(pictures)))

    return router
