"""Applications that answer at once: what HTTP/1.1 asks of a server, and what nobody may do to one."""

from __future__ import annotations

import asyncio

import pytest

from programs.telemetry import Telemetry
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.http.held_bodies import HeldBodies
from registry_access.runtime.http.immediate_protocol import Reply, text_reply
from registry_access.runtime.serving import Listener, Servers
from tests.support.serving import served


class Echo:
    """Answers with what it was sent."""

    body_maximum = 100_000
    body_seconds = 0.3

    def reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
        return Reply(200, b"%s %s %s" % (method, path, body)) if path == b"/echo" else text_reply(404, "nothing")


async def conversation(host: str, *parts: bytes) -> bytes:
    """What the server sends until it closes, or a second, the parts being sent one after the other."""
    reader, writer = await asyncio.open_connection(*host.split(":"))
    heard = bytearray()
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
    try:
        async with asyncio.timeout(1):
            while chunk := await reader.read(65536):
                heard += chunk
    except TimeoutError:
        heard += b"(open)"
    finally:
        writer.close()
    return bytes(heard)


def post(body: bytes, *headers: str, path: str = "/echo") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize(
    "parts",
    [
        [post(b"one") + post(b"two")],
        [post(b"one"), post(b"two")],
        [post(b"one")[:30], post(b"one")[30:-2], post(b"one")[-2:] + post(b"two")],
        [b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n2\r\nne\r\n0\r\n\r\n" + post(b"two")],
        [post(b"one", "Expect: 100-continue"), post(b"two")],
    ],
)
async def test_one_connection_is_answered_request_by_request(parts: list[bytes]) -> None:
    async with served(Echo()) as host:
        heard = await conversation(host, *parts)
    assert heard.endswith(b"(open)")
    answers = [part for part in heard.removesuffix(b"(open)").split(b"HTTP/1.1 ") if part and not part.startswith(b"100")]
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"POST /echo one", b"POST /echo two"]
    assert all(b"content-type: application/json\r\n" in answer and b"date: " in answer for answer in answers)
    assert (b"HTTP/1.1 100 Continue" in heard) == (b"Expect" in parts[0])


@pytest.mark.parametrize(
    ("request_bytes", "status", "ending"),
    [
        (post(b"", "Connection: close"), b"200", b"POST /echo "),
        (b"POST /echo HTTP/1.0\r\n\r\n", b"200", b"POST /echo "),
        (b"HEAD /echo?a=b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200", b"\r\n\r\n"),
        (post(b"x", "Connection: close", path="/else"), b"404", b"nothing\n"),
        (post(b"x" * 100_001), b"413", b"bytes\n"),
        (
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"186a1\r\n" + b"x" * 0x186A1,
            b"413",
            b"bytes\n",
        ),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow", b"408", b"\r\n\r\n"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400", b"received."),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", b"400", b"received."),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n", b"404", b"nothing\n"),
    ],
)
async def test_what_ends_a_connection(request_bytes: bytes, status: bytes, ending: bytes) -> None:
    async with served(Echo()) as host:
        heard = await conversation(host, request_bytes)
    assert heard.split(b" ", 2)[1] == status
    assert heard.endswith(ending)
    assert heard.count(b"HTTP/1.1 ") == 1


async def test_who_does_not_read_is_asked_nothing_more() -> None:
    class Large(Echo):
        asked = 0

        def reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
            self.asked += 1
            return Reply(200, b"x" * 1_000_000)

    app = Large()
    async with served(app) as host:
        _, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(post(b"") * 50)
        await asyncio.sleep(0.1)
        first = app.asked
        for _ in range(200):
            writer.write(post(b"") * 50)
            await asyncio.sleep(0.001)
        writer.transport.abort()
    assert app.asked <= first + 1000, "answers for one who never reads pile up in memory"


async def test_a_request_that_has_begun_is_answered_before_the_server_ends() -> None:
    """A webhook that is stopped loses no admission: its client would let the pod through as it is."""
    health = Health()
    servers = Servers([Listener("webhook", Echo(), Address("127.0.0.1", 0))], telemetry=Telemetry(), health=health, drain=10)
    running = asyncio.create_task(servers.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", servers.port("webhook"))
    idle = await asyncio.open_connection("127.0.0.1", servers.port("webhook"))
    writer.write(post(b"whole")[:-3])
    await asyncio.sleep(0.05)
    servers.stop()
    assert await asyncio.wait_for(idle[0].read(), 5) == b""
    writer.write(b"ole")
    heard = await asyncio.wait_for(reader.read(), 5)
    assert heard.endswith(b"connection: close\r\n\r\nPOST /echo whole")
    await asyncio.wait_for(running, 5)
    for stream in (writer, idle[1]):
        stream.close()


async def test_a_replica_that_stops_answers_until_its_clients_have_moved() -> None:
    """An idle connection that is closed races with the next review on it, which would admit a pod as written."""
    listener = Listener("webhook", Echo(), Address("127.0.0.1", 0), linger=0.5)
    servers = Servers([listener], telemetry=Telemetry(), health=Health(), drain=10)
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    port = servers.port("webhook")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(b"before"))
    assert b"connection: close" not in await reader.readuntil(b"before")
    servers.stop()
    for number in range(8):  # twice the linger: while reviews come, it is not quiet
        await asyncio.sleep(0.12)
        later, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(post(b"new"))
        assert b"connection: close" in await asyncio.wait_for(later.read(), 5), number
        other.close()
    writer.write(post(b"kept"))
    assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"connection: close\r\n\r\nPOST /echo kept")
    await asyncio.wait_for(running, 5)
    writer.close()


async def test_reviews_without_end_do_not_outlast_the_drain() -> None:
    listener = Listener("webhook", Echo(), Address("127.0.0.1", 0), linger=5)
    servers = Servers([listener], telemetry=Telemetry(), health=Health(), drain=0.3)
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    servers.stop()
    await asyncio.wait_for(running, 5)


class Watched(Echo):
    body_maximum = 50_000

    def __init__(self, maximum: int = 100_000) -> None:
        self.bodies = HeldBodies(maximum)
        self.told: list[tuple[int, int]] = []

    def refused(self, status: int, size: int) -> None:
        self.told.append((status, size))


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (post(b"x" * 50_001), (413, 50_001)),
        (CHUNKED + b"c351\r\n" + b"x" * 0xC351, (413, 0xC351)),
        (CHUNKED + b"1\r\nx\r\n" * 20_000, (413, 16_385)),
        (post(b"x" * 9)[:-5], (408, 9)),
    ],
)
async def test_an_application_hears_what_was_refused_for_it(request_bytes: bytes, told: tuple[int, int]) -> None:
    app = Watched()
    async with served(app) as host:
        heard = await conversation(host, request_bytes)
    assert heard.startswith(f"HTTP/1.1 {told[0]} ".encode())
    assert app.told == [told]


async def test_strangers_who_hold_large_bodies_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty bodies of 40 KB that never end two are held; a small request in two parts, and a whole one, are answered."""
    app = Watched()
    monkeypatch.setattr(app, "body_seconds", 30.0)
    unfinished = post(b"x" * 50_000)[:-10_000]
    async with served(app) as host:
        strangers = [await asyncio.open_connection(*host.split(":")) for _ in range(20)]
        for _, writer in strangers:
            writer.write(unfinished)
            await writer.drain()
        while len(app.told) < 17:
            await asyncio.sleep(0.01)
        part = post(b"small", "Connection: close")
        assert b"POST /echo small" in await conversation(host, part[:-2], part[-2:])
        assert b"POST /echo " + b"y" * 49_000 in await conversation(host, post(b"y" * 49_000, "Connection: close"))
        refused = [await reader.read() for reader, _ in strangers[:17]]
        for _, writer in strangers:
            writer.close()
    assert {status for status, _ in app.told} == {503}
    assert all(b"503 " in answer and b"retry-after: 1" in answer for answer in refused if answer)
    assert app.bodies._sum == 0
