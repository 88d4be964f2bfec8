"""Answers in forms of HTTP/1 that clients read, byte by byte as upstreams and what stands before them write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.upstream.network.connection import Connections
from proxy.upstream.settings import ConnectionPolicy, UpstreamSettings
from tests.support.tls import client_context

INSIDE = ConnectionPolicy(insecure=True, private_addresses=True)
CHUNKS = b"2\r\nok\r\n0\r\n\r\n"


@asynccontextmanager
async def answering(*pieces: bytes, close: bool = False) -> AsyncIterator[int]:
    """A server that answers every request with `pieces`, each in a packet of its own; gives its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",), id="line-feeds-alone"),
        pytest.param((b"HTTP/1.1 200 OK\n", b"Content-Length: 2\n", b"\n", b"ok"), id="line-feeds-alone-in-pieces"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n" + CHUNKS,), id="both-lengths"
        ),
        pytest.param((b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",), id="a-list-of-equal-lengths"),
        pytest.param((b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",), id="an-empty-line-before"),
        pytest.param((b"HTTP/1.1 200 OK\r", b"\nContent-Length: 2\r\n\r", b"\no", b"k"), id="cut-in-line-ends"),
        pytest.param((b"HTTP/1.1 103 Early Hints\nLink: <a>\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",), id="interim"),
        pytest.param((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"), id="continue-unasked"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n2;x=y\r\nok\r\n0\r\nA: b\r\n\r\n",),
            id="trailer",
        ),
    ],
)
async def test_an_answer_is_read_and_its_connection_used_again(pieces: tuple[bytes, ...]) -> None:
    connections = Connections(UpstreamSettings(), tls=client_context())
    await connections.start()
    try:
        async with answering(*pieces) as port, asyncio.timeout(10):
            for _ in range(2):
                answer = await connections.request("GET", f"http://127.0.0.1:{port}/v2/a", headers={}, access=INSIDE)
                assert (answer.status, await answer.read(100)) == (200, b"ok")
    finally:
        await connections.close()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\n\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
)
async def test_an_answer_ends_with_its_connection_where_nothing_else_says_so(head: bytes) -> None:
    connections = Connections(UpstreamSettings(), tls=client_context())
    await connections.start()
    try:
        async with answering(head, b"ok", close=True) as port, asyncio.timeout(10):
            for _ in range(2):
                answer = await connections.request("GET", f"http://127.0.0.1:{port}/v2/a", headers={}, access=INSIDE)
                assert (answer.status, await answer.read(100)) == (200, b"ok")
    finally:
        await connections.close()
