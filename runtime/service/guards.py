"""What every request passes before a route sees it: host, origin, token, size; and the headers of every answer."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.service.problems import Refused, problem
from runtime.service.settings import Limits, Settings

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
# The paths that need a token, if there is one; the page itself asks for it.
SECRET = ("/v1/", "/metrics")
# In the list of hosts: every IP address.
ANY = "*"
CLOSE, RETRY = {"Connection": "close"}, {"Retry-After": "1"}
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"})
Answered = Callable[[str, str, int, float], None]


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: Settings, answered: Answered) -> None:
        self.app, self.settings, self.answered = app, settings, answered
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, held, most = time.perf_counter(), 500, 0, 0

        async def counted() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            held += size
            self._held += size
            if held > most:
                raise Refused(413, f"The request may have at most {most} bytes.", CLOSE)
            if self._held > self.settings.limits.bodies:
                raise Refused(503, "The service is busy with large pictures; try again.", CLOSE | RETRY)
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            try:
                most = self._most(scope)
                await self.app(scope, counted, sent)
            except Refused as error:
                headers = {**(error.headers or {}), **CLOSE}
                await problem(error.status_code, error.detail, headers)(scope, receive, sent)
        finally:
            self._held -= held
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "other")
            self.answered(method, route, status, time.perf_counter() - start)

    def _most(self, scope: Scope) -> int:
        """Return the most bytes of the body of this request. Raises Refused for a request that no route may see."""
        headers = Headers(scope=scope)
        _check_host(headers, self.settings.hosts)
        _check_origin(scope["method"], headers)
        if self.settings.token is not None and scope["path"].startswith(SECRET):
            _check_token(headers, self.settings.token)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "The body must not be compressed.")
        most = _most_bytes(headers, self.settings.limits)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 15 or int(length) > most:
            raise Refused(413, f"The request has {length:.20} bytes; it may have at most {most}.")
        return most


def _most_bytes(headers: Headers, limits: Limits) -> int:
    return limits.body if headers.get("content-type", "").lower().startswith("multipart/") else limits.text


def _check_host(headers: Headers, hosts: tuple[str, ...]) -> None:
    """Refuse a name that is not ours: a page of another site may have changed the address of its own name to ours."""
    name = host_of(headers.get("host", ""))
    if name not in hosts and not (ANY in hosts and _is_address(name)):
        raise Refused(421, "This service does not answer to that host name; start it with --allow-host NAME.")


def known_hosts(host: str, also: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which a service that listens on the address `host` may be called, with the names `also`.

    A service that listens on all addresses may be called by any IP address.
    """
    own = {ANY} if host in ("0.0.0.0", "::") else {host.lower()}
    return tuple(sorted(LOCAL | own | {name.lower() for name in also}))


def host_of(text: str) -> str:
    """Return the host of "host:port", "[::1]:port" or "host", in lower case."""
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return text.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_origin(method: str, headers: Headers) -> None:
    """Refuse a change that a page of another site asks for."""
    origin = headers.get("origin")
    if method in ("GET", "HEAD", "OPTIONS") or origin is None:
        return
    if origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise Refused(403, "Pages of other sites may not use this service.")


def _check_token(headers: Headers, token: str) -> None:
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Refused(
            401,
            "Send the token of this service: Authorization: Bearer TOKEN.",
            {"WWW-Authenticate": "Bearer"},
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address `host`."""
    return host == "localhost" or _is_address(host) and ipaddress.ip_address(host).is_loopback
