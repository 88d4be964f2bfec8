"""Serving: guarded requests, certificates swapped live, drain, ports that are taken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from programs.telemetry import Telemetry
from registry_access.model.errors import InvalidInput
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.operations import create_operations_app
from registry_access.runtime.serving import Listener, Servers
from registry_access.runtime.tls.served_certificate import TlsFiles
from tests.support.serving import served
from tests.support.tls import certificate_authority, client_context


async def hello(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello, methods=["GET", "POST"])])


async def exchange(host: str, request: bytes) -> bytes:
    """What the server sends until it closes, or 3 s."""
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 3)
    except TimeoutError:
        return b"(open)"
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
async def test_requests_that_smuggle_or_flood_are_refused(request_bytes: bytes, status: bytes) -> None:
    """Threats 16 and 27."""
    async with served(APP) as host:
        answer = await exchange(host, request_bytes)
    assert answer.split(b" ", 2)[1] == status


async def test_headers_that_never_end_are_cut_off() -> None:
    async with served(APP) as host:
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")


async def test_large_bodies_and_kept_connections_are_no_headers() -> None:
    async with served(APP) as host, httpx.AsyncClient(base_url=f"http://{host}") as client:
        for _ in range(3):
            assert (await client.post("/", content=b"x" * 500_000)).status_code == 200
        assert (await client.get("/")).status_code == 200


def issue(folder: Path, name: str) -> TlsFiles:
    certificate = certificate_authority().issue_cert("localhost", common_name=name)
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    return TlsFiles(folder / "tls.crt", folder / "tls.key")


async def served_name(port: int) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(), server_hostname="localhost")
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return next(str(value) for part in certificate["subject"] for name, value in part if name == "commonName")


async def test_a_swapped_certificate_is_served_without_a_failed_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 9."""
    monkeypatch.setattr("registry_access.runtime.serving._RELOAD_SECONDS", 0.05)
    telemetry = Telemetry()
    listener = Listener("webhook", APP, Address("127.0.0.1", 0), issue(tmp_path, "first"))
    servers = Servers([listener], telemetry=telemetry, health=Health(), drain=1)
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    port = servers.port("webhook")
    assert await served_name(port) == "first"
    issue(tmp_path, "second")
    names = [await served_name(port)]
    while names[-1] != "second":
        names.append(await served_name(port))
        assert len(names) < 2000
    (tmp_path / "tls.crt").write_text("half written")
    await asyncio.sleep(0.2)
    assert await served_name(port) == "second"
    assert b'akua_certificate_expiry_timestamp_seconds{server="webhook"}' in telemetry.exposition()
    servers.stop()
    await running


async def test_a_certificate_whose_key_comes_later_is_not_served_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_access.runtime.serving._RELOAD_SECONDS", 0.02)
    listener = Listener("webhook", APP, Address("127.0.0.1", 0), issue(tmp_path, "first"))
    servers = Servers([listener], telemetry=Telemetry(), health=Health(), drain=1)
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    other = tmp_path / "other"
    other.mkdir()
    issue(other, "second")
    (other / "tls.crt").replace(tmp_path / "tls.crt")
    await asyncio.sleep(0.2)
    assert await served_name(servers.port("webhook")) == "first"
    (other / "tls.key").replace(tmp_path / "tls.key")
    servers.reload_certificate("webhook")
    assert await served_name(servers.port("webhook")) == "second"
    servers.stop()
    await running


async def test_a_stream_may_end_before_the_process_does() -> None:
    """Fault 20."""
    release = asyncio.Event()

    async def slow(_: Request) -> Response:
        await release.wait()
        return PlainTextResponse("whole")

    health = Health()
    app = Starlette(routes=[Route("/", slow)])
    servers = Servers([Listener("proxy", app, Address("127.0.0.1", 0))], telemetry=Telemetry(), health=health, drain=10)
    started = asyncio.Event()
    running = asyncio.create_task(servers.run(started.set))
    await started.wait()
    async with httpx.AsyncClient(timeout=10) as client:
        answer = asyncio.create_task(client.get(f"http://127.0.0.1:{servers.port('proxy')}/"))
        await asyncio.sleep(0.2)
        servers.stop()
        await asyncio.sleep(0.2)
        assert "shutdown" in health.failures()
        assert not running.done()
        release.set()
        assert (await answer).text == "whole"
    await running


async def test_a_port_that_is_taken_is_said_with_the_way_out() -> None:
    async with served(APP) as host:
        address = Address("127.0.0.1", int(host.split(":")[1]))
        with pytest.raises(InvalidInput, match="AKUA_PROXY_ADDRESS"):
            Servers([Listener("proxy", APP, address)], telemetry=Telemetry(), health=Health())


async def test_files_that_are_no_certificate_are_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nonsense")
    listener = Listener("webhook", APP, Address("127.0.0.1", 0), TlsFiles(tmp_path / "a", tmp_path / "a"))
    with pytest.raises(InvalidInput, match="webhook"):
        Servers([listener], telemetry=Telemetry(), health=Health())


async def test_operations_tell_ready_from_not_and_why() -> None:
    health, telemetry, problem = Health(), Telemetry(), [""]
    health.add("state", lambda: problem[0])
    transport = httpx.ASGITransport(create_operations_app(health, telemetry))
    async with httpx.AsyncClient(transport=transport, base_url="http://operations") as client:
        assert (await client.get("/livez")).text == "ok\n"
        assert (await client.get("/readyz")).json() == {"ready": True, "failures": {}}
        problem[0] = "not read yet"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["failures"]) == (503, {"state": "not read yet"})
        assert "akua_streams_open" in (await client.get("/metrics")).text
