"""Routes of the stored rows: list, get, add, confirm, delete, and their pictures."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from runtime.console import note
from runtime.gallery.lookup.filters import Filters
from runtime.service.forms import MOST_CAMERA, MOST_ID, moment, read_form
from runtime.service.problems import responses
from runtime.service.routes import schemas
from runtime.service.scheduler import Scheduler
from runtime.service.settings import Limits

ADD_FIELDS = ("image", "box", "person", "camera", "time", "track")
Id = Annotated[int, Path(ge=1, le=MOST_ID)]
Camera = Annotated[int, Query(ge=0, le=MOST_CAMERA)]
Limit = Annotated[int, Query(ge=1, le=Limits().top)]
COMMON = (401, 403, 404, 409, 413, 415, 421, 422)
# Shown for a row without a picture.
PLACEHOLDER = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 256"><rect width="128" height="256" fill="#8884"/>'
    b'<circle cx="64" cy="76" r="26" fill="#8888"/><path d="M20 216v-56a44 44 0 0 1 88 0v56z" fill="#8888"/></svg>'
)
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "image/svg+xml": {"schema": {"type": "string"}},
        }
    }
}


def routes(scheduler: Scheduler) -> APIRouter:
    """Return the routes."""
    router, service = APIRouter(prefix="/v1", tags=["rows"]), scheduler.service
    limits = service.settings.limits

    @router.get("/rows", responses=responses(401, 413, 415, 421, 422), response_model=schemas.Rows)
    async def list_rows(
        person: schemas.Name | None = None,
        camera: Annotated[list[Camera] | None, Query()] = None,
        after: schemas.Time | None = None,
        before: schemas.Time | None = None,
        limit: Limit = 50,
        after_id: Annotated[int, Query(ge=0, le=MOST_ID)] = 0,
    ) -> Any:
        """The rows that fit, in the order of adding; `after` is inclusive, `before` is not. Go on with `after_id` = `next`."""
        filters = Filters(
            tuple(camera) if camera else None,
            moment(after, "after") if after else None,
            moment(before, "before") if before else None,
        )
        return await scheduler.light(
            partial(service.list_rows, filters, person=person, after=after_id, limit=limit)
        )

    @router.post(
        "/rows",
        status_code=201,
        responses=responses(400, *COMMON, 503),
        response_model=schemas.AddedRows,
        openapi_extra=schemas.form(schemas.ADD_FORM, "image"),
    )
    async def add(request: Request) -> Any:
        """Store pictures of people. A picture that is stored already changes nothing."""
        form = await (await read_form(request, limits, ADD_FIELDS)).add()
        with scheduler.accepted():
            crops = await scheduler.crops(form.pictures, thumbnails=True)
            features = await scheduler.features(crops, form.camera)
            return {"rows": await scheduler.heavy(partial(service.add, form, crops, features))}

    @router.get("/rows/{id}", responses=responses(401, 404, 413, 415, 421, 422), response_model=schemas.Row)
    async def row(id: Id) -> Any:
        """One row."""
        return await scheduler.light(partial(service.row, id))

    @router.patch("/rows/{id}", responses=responses(400, *COMMON), response_model=schemas.Row)
    async def confirm(id: Id, change: schemas.Change) -> Any:
        """Say who a row shows; null for unknown."""
        return await scheduler.light(partial(service.set_person, id, change.person))

    @router.delete("/rows/{id}", responses=responses(*COMMON), response_model=schemas.Deleted)
    async def delete_row(id: Id) -> Any:
        """Delete a row with its feature and its picture."""
        await scheduler.light(partial(service.delete_row, id))
        note(f"deleted row {id} on request")
        return {"deleted": 1}

    @router.post("/delete", responses=responses(400, *COMMON), response_model=schemas.Deleted)
    async def delete(what: schemas.Deletion) -> Any:
        """Delete all rows of a person or of a camera, or those before a time."""
        (kind,) = what.model_fields_set
        selection: dict[str, Any] = {kind: getattr(what, kind)}
        if what.before is not None:
            # refuses text that is no time
            moment(what.before, "before")
        count = await scheduler.light(partial(service.delete, **selection))
        note(f"deleted {count} rows on request, chosen by {kind}")
        return {"deleted": count}

    @router.get(
        "/rows/{id}/thumbnail",
        response_class=Response,
        responses={**responses(401, 404, 413, 415, 421, 422), **PICTURE},
    )
    async def thumbnail(id: Id) -> Response:
        """A small picture of a row, or a placeholder."""
        jpeg = await scheduler.light(partial(service.picture, id))
        headers = {"Cache-Control": "private, max-age=600"}
        if jpeg is None:
            return Response(PLACEHOLDER, media_type="image/svg+xml", headers=headers)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    return router
