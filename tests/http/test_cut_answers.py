"""After a revocation nothing of an answer leaves any more, and the record says how much of it had left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response

from registry_access.model.resources import Key, Kind
from tests.support.proxied_world import WORKSPACE, World, basic, world
from tests.support.scripted_upstream import ScriptedUpstream

WINDOW = 64 * 1024
BLOB = bytes(range(256)) * 128 * 1024
BLOB_DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
MANIFEST = json.dumps({"schemaVersion": 2, "annotations": {"padding": "x" * (4 * 1024 * 1024 - 100)}}).encode()
TAGS = json.dumps({"name": "acme/app", "tags": [f"{number:064d}" for number in range(60_000)]}).encode()


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def akua(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[World]:
    async with world(tmp_path, upstream) as made:
        yield made


async def _ask(akua: World, token: str, path: str) -> socket.socket:
    """A connection of which the answer's head was read; the client's own buffer is small."""
    host, _, port = akua.host.partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (host, int(port)))
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(token)}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await loop.sock_recv(sock, 1)
    assert head.startswith(b"HTTP/1.1 200")
    return sock


async def _rest(sock: socket.socket) -> tuple[int, bool]:
    """Bytes that still arrive, and whether the connection was reset."""
    received = 0
    while True:
        try:
            piece = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        except ConnectionResetError:
            return received, True
        if not piece:
            return received, False
        received += len(piece)


ANSWERS = [("manifests", "1.0", MANIFEST), ("tags", "list", TAGS), ("blobs", BLOB_DIGEST, BLOB)]


@pytest.mark.parametrize(("kind", "reference", "content"), ANSWERS, ids=["manifest", "tags", "blob"])
async def test_what_waits_for_a_slow_client_is_taken_back(
    akua: World, upstream: ScriptedUpstream, kind: str, reference: str, content: bytes
) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(content)
    sock = await _ask(akua, token, akua.path("acme/app", kind, reference))
    await asyncio.sleep(0.5)  # until neither the kernel's buffers nor ours take more
    await akua.store.patch(Key(Kind.INSTALL, WORKSPACE, "shop"), {"spec": {"revoked": True}})
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("cut", "install-revoked")
    received, reset = await _rest(sock)
    assert reset
    assert received <= row.outcome.bytes <= received + 4 * WINDOW
    assert received < 4 * WINDOW < len(content)


@pytest.mark.parametrize(("kind", "reference", "content"), ANSWERS, ids=["manifest", "tags", "blob"])
async def test_an_answer_is_open_until_its_last_byte_has_left(
    akua: World, upstream: ScriptedUpstream, kind: str, reference: str, content: bytes
) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(content)
    sock = await _ask(akua, token, akua.path("acme/app", kind, reference))
    await asyncio.sleep(0.3)
    assert akua.proxy.services.streams.count() == 1
    reading = asyncio.create_task(_rest(sock))
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.status) == ("allowed", 200)
    sock.shutdown(socket.SHUT_WR)
    assert await reading == (row.outcome.bytes, False)
    assert akua.proxy.services.streams.count() == 0


async def test_a_client_that_goes_away_is_recorded_with_what_had_left(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(BLOB)
    sock = await _ask(akua, token, akua.path("acme/app", "blobs", BLOB_DIGEST))
    await asyncio.sleep(0.3)
    sock.close()
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert row.outcome.reason == "client-closed"
    assert row.outcome.bytes < 4 * WINDOW
