"""What has left a connection, with TLS and without, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from registry_access.runtime.connections.outgoing import Outgoing
from tests.support.tls import certificate_authority, client_context

SIZE = 24 * 1024 * 1024
WINDOW = 64 * 1024
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not say what it holds")


class Server(asyncio.Protocol):
    def __init__(self, made: asyncio.Future[Outgoing]) -> None:
        self._made = made
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        outgoing = Outgoing(transport)
        transport.write(b"head")
        outgoing.mark()
        for _ in range(SIZE // 65536):
            transport.write(bytes(65536))
        self._made.set_result(outgoing)


@contextlib.asynccontextmanager
async def connected(tls: bool) -> AsyncIterator[tuple[Outgoing, ssl.SSLSocket | socket.socket]]:
    """A server that has written SIZE bytes, and a client that has read nothing. Leaves nothing to a loop that closes: uvloop's
    would wait for ever for a transport that still writes.
    """
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate_authority().issue_cert("localhost").configure_cert(context)
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Outgoing] = loop.create_future()
    server = await loop.create_server(lambda: Server(made), "127.0.0.1", 0, ssl=context)

    def connect() -> ssl.SSLSocket | socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        sock.settimeout(10)
        sock.connect(server.sockets[0].getsockname())
        return client_context().wrap_socket(sock, server_hostname="localhost") if tls else sock

    client = await asyncio.to_thread(connect)
    outgoing = await made
    try:
        yield outgoing, client
    finally:
        client.close()
        outgoing.reset()
        server.close()
        await asyncio.sleep(0.05)


def read_all(client: socket.socket) -> int:
    received = 0
    while received < SIZE + len(b"head"):
        try:
            piece = client.recv(1 << 20)
        except OSError:
            break
        if not piece:
            break
        received += len(piece)
    return received - len(b"head")


async def reset(tls: bool) -> None:
    async with connected(tls) as (outgoing, client):
        await asyncio.sleep(0.2)
        outgoing.reset()
        outgoing.reset()
        await asyncio.sleep(0.1)
        received = await asyncio.to_thread(read_all, client)
        assert outgoing.dropped_after is not None
        # Between the count and the cut a busy machine may send a window more.
        assert received - WINDOW <= outgoing.dropped_after < received + 4 * WINDOW
        assert outgoing.dropped_after < SIZE // 8


async def flush(tls: bool) -> None:
    async with connected(tls) as (outgoing, client):
        flushing = asyncio.create_task(outgoing.flush(SIZE))
        await asyncio.sleep(0.2)
        assert not flushing.done()
        received = await asyncio.to_thread(read_all, client)
        await flushing
        assert received == SIZE


async def flush_of_a_lost_connection(tls: bool) -> None:
    async with connected(tls) as (outgoing, client):
        flushing = asyncio.create_task(outgoing.flush(SIZE))
        client.close()
        await flushing


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("case", [reset, flush, flush_of_a_lost_connection])
def test_outgoing(
    case: Callable[[bool], Coroutine[Any, Any, None]], loop: Callable[[], asyncio.AbstractEventLoop], tls: bool
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(case(tls), 30))
