"""Errors as RFC 9457 documents. No document names a path of this machine, and none has a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from runtime.console import note
from runtime.errors import UserError
from runtime.wording import shortened

MEDIA = "application/problem+json"
# The description of a problem in the OpenAPI schema.
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


class Refused(HTTPException):
    """A request that is not served; `detail` says why and what to do."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the response of a problem."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(document, status, headers, media_type=MEDIA)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems that a route may answer with."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": SCHEMA}}}
        for status in statuses
    }


def add_handlers(app: FastAPI) -> None:
    """Let `app` answer every error with a problem."""
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UserError, _failed)
    app.add_exception_handler(Exception, _fault)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    headers = dict(error.headers) if error.headers else None
    if error.status_code == 405 and (methods := _methods(request)):
        headers = {"Allow": ", ".join(methods)}
    detail = error.detail if isinstance(error, Refused) else HTTPStatus(error.status_code).description
    return problem(error.status_code, detail or HTTPStatus(error.status_code).phrase, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes with the path of a request; Starlette itself names those of the first."""
    route = getattr(request.scope.get("route"), "path", None)
    return sorted(method.upper() for method in request.app.openapi()["paths"].get(route, ()))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    reasons = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5]]
    return problem(422, shortened("; ".join(reasons), 500))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    # the message may name a folder of this machine, so it goes to the log only
    note(f"{request.method} {request.url.path}: {error}")
    return problem(500, "The service failed at this request; its log says why.")


async def _fault(request: Request, error: Exception) -> JSONResponse:
    # the server writes the traceback to the log
    return problem(500, "The service failed at this request; its log says why.")
