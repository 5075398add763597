"""Connections that do not stay open for ever: uvicorn itself waits without end for a request that never becomes complete."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A connection is closed so many seconds after its start, or after the last answer plus the first byte, without a complete header,
# and so many seconds after the header without a complete body.
HEADER_S, BODY_S = 10.0, 30.0
# The most connections with an incomplete request; the oldest is closed first. The most connections of all; idle ones are closed.
MOST_INCOMPLETE, MOST = 64, 512
# Connections are counted so long after a new one, because its first bytes may have arrived and not be read yet.
SETTLE_S = 0.1
# How long a request may take to become complete when the service stops.
LAST_S = 2.0


class Connection(H11Protocol):
    """A connection of uvicorn with deadlines for the header and the body of each request."""

    _deadline: asyncio.TimerHandle | None = None
    _waits_for: str = ""
    _stopping: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first header."""
        super().connection_made(transport)
        self._expect("header", HEADER_S)
        self.loop.call_later(SETTLE_S, self._limit)

    def _limit(self) -> None:
        """Close one connection if there are too many."""
        others = [one for one in self.connections if isinstance(one, Connection)]
        incomplete = [one for one in others if one._deadline is not None]
        idle = [one for one in others if one._deadline is None and one.timeout_keep_alive_task is not None]
        if len(incomplete) > MOST_INCOMPLETE:
            min(incomplete, key=_end).drop()
        elif len(others) > MOST and idle:
            min(idle, key=_idle_end).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._expect("")
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Let uvicorn handle what has arrived, and see what is missing."""
        super().handle_events()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._expect("body", BODY_S)
        elif state is h11.IDLE and (self.conn.trailing_data[0] or self._waits_for == "header"):
            self._expect("header", HEADER_S)
        else:
            self._expect("")

    def shutdown(self) -> None:
        """Close the connection after the answer; a request that is not complete has a moment to become so."""
        self._stopping = True
        if self._deadline is None:
            super().shutdown()
            return
        if self.cycle is not None:
            self.cycle.keep_alive = False
        waits_for = self._waits_for
        self._expect("")
        self._expect(waits_for, LAST_S)

    def drop(self) -> None:
        """Close the connection now."""
        self._expect("")
        self.transport.abort()

    def _expect(self, what: str, seconds: float = 0.0) -> None:
        """Set the deadline of a part of the request ("": none), unless it is set."""
        if what == self._waits_for:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._waits_for = what
        self._deadline = self.loop.call_later(seconds, self.drop) if what else None


def _end(connection: Connection) -> float:
    # the one that began to wait first, whatever part it waits for
    assert connection._deadline is not None
    return connection._deadline.when() - (BODY_S if connection._waits_for == "body" else HEADER_S)


def _idle_end(connection: Connection) -> Any:
    task = connection.timeout_keep_alive_task
    return task.when() if task is not None else 0.0
