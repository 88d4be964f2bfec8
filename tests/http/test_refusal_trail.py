"""Every refusal can be found again by its decision id, and nobody unknown can use that to fill the trail."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest

from demo_registry.registry import UpstreamRegistry
from proxy.pull.pulls import Pulls
from tests.support.proxied_world import World, basic, world


async def raw(akua: World, request: str) -> bytes:
    reader, writer = await asyncio.open_connection(*akua.host.split(":"))
    writer.write(request.encode("latin-1"))
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_head_is_refused_with_the_reason_in_status_line_and_headers(akua: World) -> None:
    token = await akua.install("shop", revoked=True)
    path = akua.path("acme/app", "manifests", "1.0")
    answer = await raw(akua, f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {basic(token)}\r\n\r\n")
    (row,) = await akua.audit()
    assert answer.startswith(f"HTTP/1.1 403 Forbidden: install-revoked {row.event.decision_id}\r\n".encode())
    assert f"akua-decision: {row.event.decision_id}\r\n".encode() in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


async def test_a_refusal_keeps_the_connection_usable(akua: World) -> None:
    token = await akua.install("shop")
    refused = await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))
    assert (refused.status_code, refused.reason_phrase.split(":")[0]) == (403, "Forbidden")
    allowed = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert (allowed.status_code, allowed.reason_phrase) == (200, "OK")


@pytest.mark.parametrize(
    ("method", "path", "operation", "reason"),
    [
        ("GET", "/v2/ghcr.io/acme/app/manifests/UPPER:x", "invalid", "path-invalid"),
        ("GET", "/v2/ghcr.io/acme/app/nothing", "invalid", "path-invalid"),
        ("GET", "/v2/", "ping", "token-invalid"),
        ("GET", "/v2/_catalog", "ping", "token-invalid"),
        ("GET", "/token", "token", "token-invalid"),
        ("GET", "/v2/ghcr.io/acme/app/manifests/1", "pull-manifest", "token-invalid"),
    ],
)
async def test_what_strangers_are_refused_is_recorded_and_logged(
    akua: World, caplog: pytest.LogCaptureFixture, method: str, path: str, operation: str, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    answer = await akua.client.request(method, path, headers={"Authorization": basic("no.token.this")})
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.event.operation, row.outcome.result, row.outcome.reason) == (operation, "refused", reason)
    assert answer.json()["errors"][0]["detail"]["decision"] == row.event.decision_id == answer.headers["akua-decision"]
    assert row.event.decision_id in [getattr(record, "decision", "") for record in caplog.records]


async def test_strangers_cannot_fill_the_trail_and_a_known_install_is_always_in_it(tmp_path: Path) -> None:
    async with world(tmp_path, audit_stranger_rate=0.0) as akua:
        token = await akua.install("shop")
        headers = {"Authorization": "Bearer nonsense"}
        for _ in range(26):
            await asyncio.gather(*(akua.client.get("/v2/ghcr.io/acme/app/manifests/1", headers=headers) for _ in range(10)))
        assert len(await akua.audit(limit=1000)) == 200
        exposition = akua.telemetry.exposition().decode()
        assert "akua_audit_skipped_total 60.0" in exposition
        assert 'akua_refusals_total{gate="token",reason="token-invalid"} 260.0' in exposition
        assert (await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))).status_code == 403
        assert len(await akua.audit(install="shop")) == 1


async def test_a_revoked_install_cannot_fill_the_trail(tmp_path: Path) -> None:
    """Issue 11, item 9: its token wrote 323 rows a second, and a full trail means no pull for anybody."""
    async with world(tmp_path, audit_install_rate=0.0) as akua:
        token = await akua.install("shop", revoked=True)
        path = akua.path("acme/app", "manifests", "1.0")
        for _ in range(13):
            await asyncio.gather(*(akua.pull(token, path) for _ in range(10)))
        assert len(await akua.audit(install="shop", limit=1000)) == 100
        await akua.proxy.services.refusals.repeats.flush()
        rows = await akua.audit(install="shop", limit=1000)
        assert len(rows) == 101
        assert sum(row.outcome.count for row in rows if row.outcome) == 130
        assert 'akua_audit_folded_total{kind="refusal"} 30.0' in akua.telemetry.exposition().decode()


async def test_an_entitled_install_cannot_fill_the_trail_either(tmp_path: Path, upstream: UpstreamRegistry) -> None:
    """Issue 11, item 9: without a record there is no pull, so that what is not to be recorded is not pulled."""
    async with world(tmp_path, upstream, pull_install_rate=0.5) as akua:
        token, other = await akua.install("shop"), await akua.install("neighbour")
        path, missing = akua.path("acme/app", "manifests", "1.0"), akua.path("acme/app", "manifests", "missing")
        answers = [await akua.pull(token, each) for each in [path, missing] * 12]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers[:10]] == [200, 404] * 5
        assert 12 <= len(refused) <= 14
        assert refused[0].json()["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert refused[0].headers["akua-reason"] == "rate-limited"
        assert int(refused[0].headers["retry-after"]) in (1, 2)
        assert (await akua.pull(other, path)).status_code == 200
        assert len(await akua.audit(install="shop", limit=1000)) == 24 - len(refused)
        await akua.proxy.services.refusals.repeats.flush()
        rows = [row for row in await akua.audit(install="shop", limit=1000) if row.outcome and row.outcome.count > 1]
        assert [(row.outcome.reason, row.outcome.count) for row in rows if row.outcome] == [("rate-limited", len(refused))]
        assert (
            f'akua_refusals_total{{gate="audit",reason="rate-limited"}} {len(refused)}.0' in akua.telemetry.exposition().decode()
        )


async def test_no_answer_leads_where_the_host_header_says(akua: World) -> None:
    for path in ("/token/", "/v2", "/v2/", "/nothing/", "/v2/ghcr.io/acme/app/manifests/1", "/v2//", "/token//"):
        answer = await raw(akua, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b"evil.example" not in answer, path
        assert not answer.startswith(b"HTTP/1.1 3"), path


async def test_two_authorizations_are_none(akua: World) -> None:
    token = await akua.install("shop")
    line = f"Authorization: {basic(token)}\r\n"
    path = akua.path("acme/app", "manifests", "1.0")
    answer = await raw(akua, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}{line}\r\n")
    assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "request_",
    [
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\n\r\n",
        "POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET /v2/ HTTP/1.1\nHost: a\n\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 101 + "\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + "y" * 40_000 + "\r\n\r\n",
    ],
    ids=["two hosts", "no host", "length and chunks", "other coding", "line feeds", "space", "many", "large"],
)
async def test_what_smugglers_send_is_400_and_the_end(akua: World, request_: str) -> None:
    """Threats 16 and 27."""
    answer = await asyncio.wait_for(raw(akua, request_), 10)
    assert answer.startswith(b"HTTP/1.1 400")


async def test_what_breaks_inside_is_an_error_of_the_protocol_without_a_traceback(
    akua: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(Pulls, "__call__", broken)
    answer: httpx.Response = await akua.client.get("/v2/ghcr.io/acme/app/manifests/1")
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"]) == (500, "UNKNOWN")
    assert "canary" not in answer.text
    assert any(record.exc_info for record in caplog.records)
