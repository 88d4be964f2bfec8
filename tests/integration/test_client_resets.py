"""Many clients that break off in the middle of a blob leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path

import httpx

from tests.integration.conftest import Content
from tests.support.akua_process import AkuaProcess
from tests.support.docker_registry import DockerRegistry
from tests.support.proxied_world import basic

WARM_UP = 1000  # until the allocator has what so many streams at once take
RESETS = 600
AT_ONCE = 20


async def test_resets_leave_no_descriptors_no_streams_and_little_memory(
    akua: AkuaProcess, upstream: DockerRegistry, content: Content
) -> None:
    digest = max(content.app.blobs, key=lambda name: len(content.app.blobs[name]))
    path = f"/v2/{upstream.authority.replace(':', '_')}/acme/app/blobs/{digest}"
    authorization = basic(await asyncio.to_thread(akua.token, "shop"), "shop")
    request = f"GET {path} HTTP/1.1\r\nHost: {akua.host}\r\nAuthorization: {authorization}\r\n\r\n".encode()
    await _break_off(akua.host, request, WARM_UP)
    descriptors, resident = await _settled(akua), akua.resident_kilobytes()
    await _break_off(akua.host, request, RESETS)
    assert await _settled(akua, descriptors + 5) <= descriptors + 5
    assert akua.resident_kilobytes() - resident < 64 * 1024
    metrics = (await asyncio.to_thread(httpx.get, f"http://{akua.operations}/metrics")).text
    assert "akua_streams_open 0.0" in metrics
    whole = await asyncio.to_thread(httpx.get, f"http://{akua.host}{path}", headers={"Authorization": authorization}, timeout=30)
    assert whole.content == content.app.blobs[digest]


async def _break_off(host: str, request: bytes, times: int) -> None:
    left = iter(range(times))

    async def client() -> None:
        for _ in left:
            reader, writer = await asyncio.open_connection(*host.split(":"), limit=4096)
            writer.write(request)
            line = await reader.readline()
            # On a machine that is far too busy a commit may take longer than its deadline; that is refused, as it should be.
            assert line.startswith(b"HTTP/1.1 200") or b"audit-unavailable" in line, line
            # Closing with a linger time of zero sends a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def _settled(akua: AkuaProcess, wanted: int = 0) -> int:
    """How many descriptors the process has open, once it stays at that (or has come down to `wanted`)."""
    folder, deadline, before = Path(f"/proc/{akua.process.pid}/fd"), time.monotonic() + 15, -1
    while time.monotonic() < deadline:
        count = sum(1 for _ in folder.iterdir())
        if count == before or count <= wanted:
            return count
        before = count
        await asyncio.sleep(0.5)
    return before
