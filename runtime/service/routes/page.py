"""The files of the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from runtime.service.problems import Refused, responses

FOLDER = Path(__file__).parents[1] / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
NO_CACHE = {"Cache-Control": "no-cache"}


def routes() -> APIRouter:
    """Return the routes of the page. Only the files that are there now are served, so no name leads out of the folder."""
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in KINDS}
    router = APIRouter(include_in_schema=False)

    def answer(name: str) -> FileResponse:
        path = files[name]
        return FileResponse(path, media_type=KINDS[path.suffix], headers=NO_CACHE)

    @router.get("/")
    def index() -> FileResponse:
        return answer("index.html")

    @router.get("/page/{name}", responses=responses(404))
    def file(name: str) -> FileResponse:
        if name not in files:
            raise Refused(404, "There is no such page.")
        return answer(name)

    return router
