"""Upstreams that lie, stop or answer nonsense: the client learns which, nothing wrong passes for right, nothing is a 500."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response, StreamingResponse

from registry_access.model.resources import Key, Kind
from registry_access.runtime.http.guarded_protocol import GuardedProtocol
from tests.support.proxied_world import WORKSPACE, World, basic, resource, world
from tests.support.scripted_upstream import ScriptedUpstream

CONTENT = bytes(range(256)) * 1024
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MANIFEST = b'{"schemaVersion":2}'
MANIFEST_DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
ANY = "sha256:" + "0" * 64


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def akua(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[World]:
    async with world(tmp_path, upstream) as made:
        yield made


@pytest.mark.parametrize(
    ("status", "headers", "answered", "code", "reason"),
    [
        (401, {}, 403, "DENIED", "upstream-unauthorized"),
        (403, {}, 403, "DENIED", "upstream-denied"),
        (404, {}, 404, "MANIFEST_UNKNOWN", "upstream-not-found"),
        (429, {"Retry-After": "77", "RateLimit-Limit": "100;w=21600"}, 429, "TOOMANYREQUESTS", "upstream-rate-limited"),
        (418, {}, 418, "UNSUPPORTED", "upstream-refused"),
        (500, {}, 502, "UNAVAILABLE", "upstream-failed"),
        (503, {"Retry-After": "9"}, 502, "UNAVAILABLE", "upstream-failed"),
        (204, {}, 502, "UNAVAILABLE", "upstream-failed"),
        (206, {"Content-Range": "bytes 0-1/2"}, 502, "UNAVAILABLE", "upstream-failed"),
        (304, {}, 502, "UNAVAILABLE", "upstream-failed"),
    ],
)
async def test_an_upstreams_refusal_is_told_apart_from_ours(
    akua: World, upstream: ScriptedUpstream, status: int, headers: dict[str, str], answered: int, code: str, reason: str
) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(b"", status, headers)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["detail"]["reason"]) == (answered, code, reason)
    assert error["detail"]["gate"] == "upstream"
    for name, value in headers.items():
        if name != "Content-Range":
            assert answer.headers[name] == value
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.status, row.outcome.reason) == ("failed", answered, reason)


@pytest.mark.parametrize(
    ("body", "status", "tags"),
    [
        (b'{"name":"acme/app","tags":["b","a"]}', 200, ["b", "a"]),
        (b'{"name":"acme/app","tags":null}', 200, []),
        (b'{"tags":[1,"a"]}', 502, None),
        (b'{"tags":"a"}', 502, None),
        (b"[]", 502, None),
        (b"<html>", 502, None),
        (b"\xff\xfe", 502, None),
        (b"[" * 100_000, 502, None),
        (b'{"tags":["' + b"a" * (17 * 1024 * 1024) + b'"]}', 502, None),
    ],
    ids=["unsorted", "null", "numbers", "text", "array", "html", "no text", "deep", "huge"],
)
async def test_what_is_no_list_of_tags(
    akua: World, upstream: ScriptedUpstream, body: bytes, status: int, tags: list[str] | None
) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(body, headers={"Link": '<http://[>; rel="next"'})
    answer = await akua.pull(token, akua.path("acme/app", "tags", "list"))
    assert answer.status_code == status
    assert "link" not in answer.headers
    if tags is not None:
        assert answer.json() == {"name": akua.name("acme/app"), "tags": tags}


async def test_a_manifest_of_another_digest_is_refused_even_by_tag(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(MANIFEST, headers={"Docker-Content-Digest": ANY})
    for reference in ("1.0", ANY):
        answer = await akua.pull(token, akua.path("acme/app", "manifests", reference))
        assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (502, "upstream-corrupt")


async def test_a_manifest_beyond_the_cap_is_refused(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(bytes(4 * 1024 * 1024 + 1))
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 502


@pytest.mark.parametrize("reference", ["1.0", MANIFEST_DIGEST])
async def test_a_head_without_what_clients_need_is_answered_from_the_manifest(
    akua: World, upstream: ScriptedUpstream, reference: str
) -> None:
    token = await akua.install("shop")

    async def pieces() -> AsyncIterator[bytes]:
        yield MANIFEST

    upstream.answer = lambda request: StreamingResponse(pieces(), media_type="application/vnd.oci.image.manifest.v1+json")
    head = await akua.pull(token, akua.path("acme/app", "manifests", reference), "HEAD")
    assert [request.method for request in upstream.asked] == ["HEAD", "GET"]
    assert head.content == b""
    assert head.headers["content-length"] == str(len(MANIFEST))
    assert head.headers["docker-content-digest"] == MANIFEST_DIGEST


async def test_a_head_of_a_blob_that_only_get_answers(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(status_code=401) if request.method == "HEAD" else Response(CONTENT)
    head = await akua.pull(token, akua.path("acme/app", "blobs", DIGEST), "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    assert head.headers["docker-content-digest"] == DIGEST


async def test_a_blob_cut_short_never_ends_cleanly(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")

    async def half() -> AsyncIterator[bytes]:
        yield CONTENT[:131072]

    upstream.answer = lambda request: StreamingResponse(half(), headers={"Content-Length": str(len(CONTENT))})
    with pytest.raises(httpx.RemoteProtocolError):
        await akua.pull(token, akua.path("acme/app", "blobs", DIGEST))
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("failed", "upstream-truncated")


async def test_a_blob_of_unstated_length_is_checked_all_the_same(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")

    async def pieces() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        yield CONTENT[1000:]

    upstream.answer = lambda request: StreamingResponse(pieces())
    assert (await akua.pull(token, akua.path("acme/app", "blobs", DIGEST))).content == CONTENT
    with pytest.raises(httpx.RemoteProtocolError):
        await akua.pull(token, akua.path("acme/app", "blobs", ANY))


async def test_a_small_blob_of_another_digest_is_an_error_in_full(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(b"small")
    answer = await akua.pull(token, akua.path("acme/app", "blobs", ANY))
    assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (502, "upstream-corrupt")


async def test_conditions_and_ranges_reach_the_upstream_and_its_answers_the_client(
    akua: World, upstream: ScriptedUpstream
) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(status_code=304, headers={"ETag": '"v1"'})
    manifest = akua.path("acme/app", "manifests", "1.0")
    assert (await akua.pull(token, manifest, **{"If-None-Match": '"v1"'})).status_code == 304
    assert upstream.asked[-1].headers["if-none-match"] == '"v1"'
    upstream.answer = lambda request: Response(CONTENT[5:7], 206, {"Content-Range": f"bytes 5-6/{len(CONTENT)}", "ETag": '"v1"'})
    blob = akua.path("acme/app", "blobs", DIGEST)
    part = await akua.pull(token, blob, **{"Range": "bytes=5-6", "If-Range": '"v1"'})
    assert (part.status_code, part.content, part.headers["etag"]) == (206, CONTENT[5:7], '"v1"')
    assert upstream.asked[-1].headers["if-range"] == '"v1"'


async def test_nothing_of_the_client_but_what_is_listed_reaches_the_upstream(akua: World, upstream: ScriptedUpstream) -> None:
    token = await akua.install("shop")
    upstream.answer = lambda request: Response(MANIFEST)
    await akua.pull(token, akua.path("acme/app", "manifests", "1.0"), **{"Cookie": "a=b", "X-Forwarded-For": "10.0.0.1"})
    (request,) = upstream.asked
    assert request.headers["host"] == akua.upstream_host
    assert request.headers["accept-encoding"] == "identity"
    assert not {"cookie", "x-forwarded-for", "authorization"} & set(request.headers)


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1 << 20)
        await asyncio.sleep(0.005)


async def test_a_stalled_client_is_dropped_by_a_cut_with_what_is_buffered_for_it(
    akua: World, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, connection_lost = asyncio.Event(), GuardedProtocol.connection_lost

    def noting(protocol: GuardedProtocol, error: Exception | None) -> None:
        if protocol.scope["path"].startswith("/v2/127"):
            lost.set()
        connection_lost(protocol, error)

    monkeypatch.setattr(GuardedProtocol, "connection_lost", noting)
    token = await akua.install("shop")
    upstream.answer = lambda request: StreamingResponse(_endless(), headers={"Content-Length": str(1 << 40)})
    reader, writer = await asyncio.open_connection(*akua.host.split(":"), limit=1024)
    request = f"GET {akua.path('acme/app', 'blobs', ANY)} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(token)}\r\n\r\n"
    writer.write(request.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await asyncio.sleep(1)  # until neither the kernel's buffers nor ours take more
    assert not lost.is_set()
    await akua.store.patch(Key(Kind.INSTALL, WORKSPACE, "shop"), {"spec": {"revoked": True}})
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert row.outcome.result == "cut"
    async with asyncio.timeout(5):
        await lost.wait()
    writer.close()


async def test_a_stream_ends_with_the_credential_it_logged_in_with_though_another_would_do(
    akua: World, upstream: ScriptedUpstream
) -> None:
    narrow = {"registry": akua.upstream_host, "type": "Basic", "secretName": "upstream", "repositories": ["acme/app"]}
    reach = {"insecure": True, "allowPrivateAddresses": True}
    await akua.store.create(resource("RegistryCredential", "narrow", narrow | reach))
    token = await akua.install("shop")
    upstream.answer = lambda request: StreamingResponse(_endless(), headers={"Content-Length": str(1 << 40)})
    path = akua.path("acme/app", "blobs", ANY)
    async with akua.client.stream("GET", path, headers={"Authorization": basic(token)}) as answer:
        pieces = answer.aiter_raw(1024)
        await anext(pieces)
        await akua.store.delete(Key(Kind.REGISTRY_CREDENTIAL, WORKSPACE, "narrow"))
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            [piece async for piece in pieces]
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("cut", "credential-missing")


async def test_time_cuts_too(akua: World, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry, and staleness: nothing changes in the state, and the stream ends."""
    token = await akua.install("shop")
    upstream.answer = lambda request: StreamingResponse(_endless(), headers={"Content-Length": str(1 << 40)})
    watch = akua.store._watch
    assert watch is not None
    path = akua.path("acme/app", "blobs", ANY)
    async with akua.client.stream("GET", path, headers={"Authorization": basic(token)}) as answer:
        pieces = answer.aiter_raw(1024)
        await anext(pieces)
        monkeypatch.setattr(watch, "_prove", lambda: None)
        monkeypatch.setattr(watch, "_proven", watch._proven - 60)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            [piece async for piece in pieces]
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("cut", "state-stale")
