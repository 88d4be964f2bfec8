"""Strangers that hold connections: every way of being slow ends, and none keeps a client out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from programs.telemetry import Telemetry
from registry_access.runtime.connections import acceptor
from registry_access.runtime.connections.gate import Network
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.http.immediate_protocol import Reply
from registry_access.runtime.serving import Listener, Servers
from registry_access.runtime.tls.served_certificate import TlsFiles
from tests.support.tls import certificate_authority, client_context

QUICK = Limits(head=0.15, body=0.15, idle=0.15, stall=0.3, body_maximum=1000, connections=50, per_address=0)


class App:
    """`/read` waits for the whole body, `/large` sends 32 MiB, `/wait` answers when `release` is set; /known is verified."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.started = 0
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.started += 1
        if "known" in path:
            scope["extensions"]["akua.known"]("acme/1")
        if "read" in path:
            while (await receive()).get("more_body"):
                pass
        if "wait" in path:
            await self.release.wait()
        body = b"x" * (32 * 1024 * 1024 if "large" in path else 2)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for start in range(0, len(body), 65536):
            await send({"type": "http.response.body", "body": body[start : start + 65536], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        if "large" in path:
            self.disconnected.set()


class Echo:
    body_maximum, body_seconds = 1000, 0.15

    def reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
        return Reply(200, b"{}")


class House:
    """A server of `app` that runs."""

    def __init__(self, servers: Servers, telemetry: Telemetry, app: Any) -> None:
        self.port = servers.port("proxy")
        self.telemetry = telemetry
        self.app = app

    async def connect(self, first: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)
        return reader, writer

    def ended(self, reason: str) -> float:
        return (
            self.telemetry.registry.get_sample_value("akua_connections_ended_total", {"server": "proxy", "reason": reason}) or 0.0
        )

    def open(self, standing: str) -> float:
        labels = {"server": "proxy", "standing": standing}
        return self.telemetry.registry.get_sample_value("akua_connections", labels) or 0.0


@contextlib.asynccontextmanager
async def house(
    limits: Limits = QUICK, app: Any = None, tls: TlsFiles | None = None, trusted: tuple[Network, ...] = ()
) -> AsyncIterator[House]:
    telemetry, app = Telemetry(), app or App()
    servers = Servers(
        [Listener("proxy", app, Address("127.0.0.1", 0), tls, limits)],
        telemetry=telemetry,
        health=Health(),
        drain=1,
        trusted=trusted,
    )
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    try:
        yield House(servers, telemetry, app)
    finally:
        if isinstance(app, App):
            app.release.set()
        servers.stop()
        await running


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """All that the server sends until it ends the connection; fails when it does not."""
    heard = bytearray()
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                heard += chunk
    return bytes(heard)


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
HELD = {
    "nothing is sent": [b""],
    "a head that never ends": [HEAD],
    "line ends before a request": [b"\r\n"],
    "a body that never comes": [b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"],
    "a body that never ends": [b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"],
    "chunks that never end": [b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"],
    "a body that nobody reads": [HEAD + b"Content-Length: 100\r\n\r\n"],
    "a body behind an answer": [HEAD + b"Content-Length: 100\r\n\r\n", b"abc"],
    "100-continue": [b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"],
    "idle": [HEAD + b"\r\n"],
    "a second head that never ends": [HEAD + b"\r\n" + HEAD],
    "a second body that never ends": [HEAD + b"\r\n" + HEAD + b"Content-Length: 100\r\n\r\nabc"],
    "a second request in pieces": [HEAD + b"\r\n", b"G"],
}


@pytest.mark.parametrize("pieces", HELD.values(), ids=HELD.keys())
@pytest.mark.parametrize("kind", [App, Echo])
async def test_whoever_does_not_go_on_loses_the_connection(pieces: list[bytes], kind: type) -> None:
    async with house(app=kind()) as home:
        reader, writer = await home.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        await until_closed(reader)
        writer.close()


@pytest.mark.parametrize("kind", [App, Echo])
@pytest.mark.parametrize(
    "first",
    [HEAD, b"\r\n", b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n", HEAD + b"Content-Length: 900\r\n\r\n"],
)
async def test_a_byte_now_and_then_is_not_going_on(first: bytes, kind: type) -> None:
    async with house(app=kind()) as home:
        reader, writer = await home.connect(first)
        heard = asyncio.create_task(until_closed(reader))
        for _ in range(200):
            if heard.done():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(b"\n" if first == b"\r\n" else b"x")
                await writer.drain()
            await asyncio.sleep(0.05)
        assert heard.done()
        writer.close()


async def test_a_slow_body_gets_408_and_is_counted() -> None:
    async with house() as home:
        reader, _ = await home.connect(HELD["a body that never ends"][0])
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 408")
        assert (home.ended("body"), home.ended("head")) == (1, 0)
        assert home.open("stranger") == 0


@pytest.mark.parametrize("path", [b"/read", b"/"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_not_received(path: bytes, chunked: bool) -> None:
    header = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1001"
    async with house() as home:
        reader, writer = await home.connect(b"POST /read HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n\r\n")
        if chunked:
            writer.write(b"3e9\r\n" + b"x" * 1001)
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", [b"/large", b"/known/large"])
async def test_whoever_does_not_take_the_answer_loses_the_connection(path: bytes) -> None:
    """A known client, too: it holds an upstream's connection."""
    async with house() as home:
        reader, writer = await home.connect(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readexactly(1000)  # StreamReader stops reading soon after
        await asyncio.wait_for(home.app.disconnected.wait(), 20)
        assert home.ended("stall") == 1
        writer.transport.abort()


async def test_an_answer_that_is_taken_slowly_arrives_whole() -> None:
    async with house(replace(QUICK, stall=0.2)) as home:
        reader, writer = await home.connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        for _ in range(8):  # longer than the deadline, in all
            received += len(await reader.readexactly(1024 * 1024))
            await asyncio.sleep(0.1)
        while received < 32 * 1024 * 1024:
            received += len(await reader.read(1024 * 1024)) or pytest.fail("the answer was cut")
        writer.close()


async def test_requests_sent_ahead_are_bounded() -> None:
    async with house() as home:
        reader, _ = await home.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        await until_closed(reader)
        assert home.app.started == 1


async def test_a_few_requests_sent_ahead_are_answered_in_order() -> None:
    async with house() as home:
        reader, writer = await home.connect((HEAD + b"\r\n") * 5)
        for _ in range(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"xx"
        writer.close()


async def test_nothing_is_written_into_an_answer_under_way() -> None:
    """A 400 or 408 there would be taken for content."""
    async with house() as home:
        reader, _ = await home.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + b"nonsense\r\n\r\n")
        assert await until_closed(reader) == b""
        reader, _ = await home.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD)
        assert await until_closed(reader) == b""


PATIENT = Limits(connections=12, per_address=0)


@pytest.mark.parametrize("first", [b"", HEAD, HELD["a body that never ends"][0], HEAD + b"\r\n"])
async def test_strangers_that_fill_every_place_keep_nobody_out(first: bytes) -> None:
    async with house(PATIENT) as home:
        held = [await home.connect(first) for _ in range(40)]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{home.port}") as client:
            for _ in range(20):
                assert (await client.get("/known")).status_code == 200
                held.append(await home.connect(first))
        assert home.open("stranger") <= 12
        assert home.ended("displaced") >= 28
        for _, writer in held:
            writer.close()


async def test_a_known_clients_answer_goes_on_while_strangers_come() -> None:
    async with house(PATIENT) as home:
        reader, writer = await home.connect(b"GET /known/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        while home.open("known") != 1:
            await asyncio.sleep(0.01)
        held = [await home.connect(HEAD) for _ in range(60)]
        home.app.release.set()
        assert (await asyncio.wait_for(reader.readuntil(b"xx"), 20)).startswith(b"HTTP/1.1 200")
        for _, each in [*held, (reader, writer)]:
            each.close()


async def test_one_address_is_held_to_its_share() -> None:
    async with house(Limits(per_address=3)) as home:
        held = [await home.connect(HEAD) for _ in range(10)]
        for reader, _ in held[:7]:
            assert await until_closed(reader) == b""
        assert home.open("stranger") == 3
        for _, writer in held:
            writer.close()


async def test_handshakes_that_never_finish_end_and_keep_nobody_out(tmp_path: Path) -> None:
    certificate = certificate_authority().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    async with house(replace(QUICK, connections=12), tls=files) as home:
        silent = [await home.connect() for _ in range(20)]
        broken = [await home.connect(b"\x16\x03\x01\x02\x00\x01") for _ in range(20)]
        async with httpx.AsyncClient(base_url=f"https://localhost:{home.port}", verify=client_context()) as client:
            assert (await client.get("/known")).status_code == 200
        for reader, writer in [*silent, *broken]:
            await until_closed(reader)
            writer.close()
        assert home.ended("handshake") >= 1
        while home.open("stranger") + home.open("known") > 0:
            await asyncio.sleep(0.01)


async def test_behind_a_load_balancer_one_client_is_held_to_its_share_and_the_others_are_served() -> None:
    async with house(Limits(per_address=2), trusted=(ipaddress.ip_network("127.0.0.0/8"),)) as home:

        def asked(path: str, address: str) -> bytes:
            return f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9, {address}\r\n\r\n".encode()

        held = [await home.connect(asked("/wait", "192.0.2.1")) for _ in range(2)]
        while home.app.started < 2:
            await asyncio.sleep(0.01)
        reader, writer = await home.connect(asked("/", "192.0.2.1"))
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 429")
        reader, _ = await home.connect(asked("/", "192.0.2.2"))
        assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        many = [await home.connect(asked("/known/wait", "192.0.2.3")) for _ in range(10)]
        while home.app.started < 13:
            await asyncio.sleep(0.01)
        home.app.release.set()
        for each, _ in [*held, *many]:
            assert (await each.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        assert home.ended("address-full") == 1
        for _, stream in [*held, *many, (reader, writer)]:
            stream.close()


async def test_a_server_without_descriptors_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "_PAUSE_SECONDS", 0.05)
    accept = socket.socket.accept
    refused = 0

    def no_room(self: socket.socket) -> tuple[socket.socket, Any]:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    async with house() as home:
        monkeypatch.setattr(socket.socket, "accept", no_room)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{home.port}") as client:
            assert (await client.get("/")).status_code == 200
        assert refused == 3
