"""The socket that the service listens on."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("uvicorn", reason="the extra service is not installed")

from runtime.service.server import Address, listen


def test_small_answers_are_sent_at_once():
    """Without TCP_NODELAY, the body of an answer waits for the acknowledgement of its header: up to 40 ms."""

    async def delays() -> int:
        seen = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted = transport.get_extra_info("socket")
                seen.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        listener = listen(Address(port=0))
        server = await asyncio.get_running_loop().create_server(Protocol, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        found = await seen
        writer.close()
        server.close()
        return found

    assert asyncio.run(delays()) != 0
