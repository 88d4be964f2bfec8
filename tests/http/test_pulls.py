"""Pulls through the whole proxy, over real connections, as clients make them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.proxied_world import World, basic

LARGE = bytes(range(256)) * 8192
LARGE_DIGEST = "sha256:" + hashlib.sha256(LARGE).hexdigest()


async def test_the_ping_is_challenged_with_exactly_one_scheme(akua: World) -> None:
    answer = await akua.client.get("/v2/", headers={"Host": "evil.example"})
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == ['Bearer realm="http://proxy.test/token",service="oci.akua.dev"']
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer nonsense"}], ids=["none", "bad"])
async def test_a_mirror_of_our_own_name_is_asked_for_basic_alone(akua: World, credentials: dict[str, str]) -> None:
    for path in ("/v2/", akua.path("acme/app", "manifests", "1.0")):
        answer = await akua.client.get(f"{path}?ns=oci.akua.dev", headers=credentials)
        assert answer.status_code == 401
        assert answer.headers.get_list("www-authenticate") == ['Basic realm="oci.akua.dev"']
        other = await akua.client.get(f"{path}?ns=docker.io", headers=credentials)
        assert other.headers["www-authenticate"].startswith("Bearer ")
    token = await akua.install("shop")
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0") + "?ns=oci.akua.dev")).status_code == 200


async def test_a_pull_from_ping_to_blob_is_byte_for_byte_the_upstreams(akua: World) -> None:
    token = await akua.install("shop")
    repository = akua.upstream.repositories["acme/app"]
    assert (await akua.pull(token, "/v2/")).status_code == 200
    index = await akua.pull(token, akua.path("acme/app", "manifests", "multi"))
    assert index.content == repository.manifests[repository.tags["multi"]].content
    assert index.headers["docker-content-digest"] == repository.tags["multi"]
    manifest = await akua.pull(token, akua.path("acme/app", "manifests", index.json()["manifests"][0]["digest"]))
    assert manifest.headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
    for descriptor in [manifest.json()["config"], *manifest.json()["layers"]]:
        blob = await akua.pull(token, akua.path("acme/app", "blobs", descriptor["digest"]))
        assert blob.content == repository.blobs[descriptor["digest"]]
        assert int(blob.headers["content-length"]) == descriptor["size"]
        assert blob.headers["docker-content-digest"] == descriptor["digest"]


async def test_head_gives_what_clients_need_and_no_body(akua: World) -> None:
    token = await akua.install("shop")
    stored = akua.upstream.repositories["acme/app"].manifests[akua.upstream.repositories["acme/app"].tags["1.0"]]
    head = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"), "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == stored.media_type
    assert head.headers["content-length"] == str(len(stored.content))
    assert head.headers["docker-content-digest"] == stored.digest
    blob = await akua.pull(token, akua.path("acme/app", "blobs", LARGE_DIGEST), "HEAD")
    assert blob.headers["content-length"] == str(len(LARGE))


@pytest.mark.parametrize(
    ("header", "status", "content_range", "first", "last"),
    [
        ("bytes=500-1499", 206, "bytes 500-1499/2097152", 500, 1500),
        ("bytes=500-", 206, "bytes 500-2097151/2097152", 500, None),
        ("bytes=-500", 206, "bytes 2096652-2097151/2097152", -500, None),
        ("bytes=2097000-9999999", 206, "bytes 2097000-2097151/2097152", 2097000, None),
        ("bytes=500-0", 416, "bytes */2097152", 0, 0),
        ("bytes=5000000-6000000", 416, "bytes */2097152", 0, 0),
        ("bytes=0-1,5-6", 200, None, 0, None),
        ("lines=1-2", 200, None, 0, None),
    ],
)
async def test_ranges(akua: World, header: str, status: int, content_range: str | None, first: int, last: int | None) -> None:
    token = await akua.install("shop")
    answer = await akua.pull(token, akua.path("acme/app", "blobs", LARGE_DIGEST), Range=header)
    assert answer.status_code == status
    assert answer.headers.get("content-range") == content_range
    assert answer.content == (LARGE[first:last] if status != 416 else b"")


async def test_every_accept_line_reaches_the_upstream(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    headers = [("Authorization", basic(token)), ("Accept", "application/a"), ("Accept", "application/b, */*")]
    request = httpx.Request("GET", f"http://{akua.host}{path}?ns=docker.io", headers=headers)
    assert (await akua.client.send(request)).status_code == 200


async def test_tags_are_sorted_named_for_the_client_and_paged_below_the_proxy(akua: World) -> None:
    token = await akua.install("shop")
    first = await akua.pull(token, akua.path("acme/app", "tags", "list") + "?n=1")
    assert first.json() == {"name": akua.name("acme/app"), "tags": ["1.0"]}
    link = first.headers["link"]
    assert link == f'</v2/{akua.name("acme/app")}/tags/list?last=1.0&n=1>; rel="next"'
    second = await akua.pull(token, link[1 : link.index(">")])
    assert second.json()["tags"] == ["multi"]
    assert "link" not in second.headers


async def test_referrers_survive_the_proxy(akua: World) -> None:
    token = await akua.install("shop")
    subject = akua.upstream.repositories["acme/app"].tags["1.0"]
    found = await akua.pull(token, akua.path("acme/app", "referrers", subject))
    assert [entry["artifactType"] for entry in found.json()["manifests"]] == ["application/vnd.example.signature"]
    unknown = await akua.pull(token, akua.path("acme/app", "referrers", "sha256:" + "0" * 64))
    assert unknown.json()["manifests"] == []


@pytest.mark.parametrize(
    ("kind", "reference", "code"),
    [("manifests", "absent", "MANIFEST_UNKNOWN"), ("blobs", "sha256:" + "0" * 64, "BLOB_UNKNOWN")],
)
async def test_what_the_upstream_does_not_have(akua: World, kind: str, reference: str, code: str) -> None:
    token = await akua.install("shop")
    answer = await akua.pull(token, akua.path("acme/app", kind, reference))
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"]) == (404, code)
    assert error["detail"]["gate"] == "upstream"


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
async def test_writes_are_unsupported(akua: World, method: str) -> None:
    token = await akua.install("shop")
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"), method)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (405, "UNSUPPORTED")


async def test_the_catalog_stays_closed(akua: World) -> None:
    token = await akua.install("shop")
    assert (await akua.client.get("/v2/_catalog")).status_code == 401
    assert (await akua.pull(token, "/v2/_catalog")).status_code == 403


async def test_a_pull_leaves_its_record(akua: World) -> None:
    token = await akua.install("shop")
    await akua.pull(token, akua.path("acme/app", "blobs", LARGE_DIGEST), **{"User-Agent": "containerd/2.1"})
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.event.install, row.event.repository, row.event.reference) == ("shop", "acme/app", LARGE_DIGEST)
    assert (row.event.user_agent, row.event.client_address) == ("containerd/2.1", "127.0.0.1")
    assert (row.outcome.result, row.outcome.status, row.outcome.bytes) == ("allowed", 200, len(LARGE))
    assert (row.outcome.digest, row.outcome.credential) == (LARGE_DIGEST, "upstream")


async def test_the_upstream_sees_its_own_token_and_never_the_installs(akua: World) -> None:
    token = await akua.install("shop")
    await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert akua.upstream.authorizations
    assert all(value.startswith("Bearer ") and token not in value for value in akua.upstream.authorizations)


async def test_an_upstream_token_that_expired_early_is_renewed_unseen(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    assert (await akua.pull(token, path)).status_code == 200
    akua.upstream.forget_tokens()
    assert (await akua.pull(token, path)).status_code == 200


async def test_a_basic_upstream_works_too(akua: World) -> None:
    akua.upstream.login = "basic"
    token = await akua.install("shop")
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 200


async def test_an_upstream_that_refuses_our_credential_is_told_apart(akua: World) -> None:
    token = await akua.install("shop")
    akua.upstream.password = "changed-behind-our-back"
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["detail"]["reason"]) == (403, "upstream-unauthorized")
    assert "incorrect username or password" in error["message"]


async def test_bytes_that_lie_break_the_connection(akua: World) -> None:
    token = await akua.install("shop")
    akua.upstream.repositories["acme/app"].blobs[LARGE_DIGEST] = LARGE[:-1] + b"!"
    with pytest.raises(httpx.RemoteProtocolError):
        await akua.pull(token, akua.path("acme/app", "blobs", LARGE_DIGEST))
    (row,) = await akua.audit()
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("failed", "upstream-corrupt")
    assert row.outcome.bytes < len(LARGE)


async def test_a_client_that_leaves_takes_the_upstream_connection_with_it(akua: World) -> None:
    token = await akua.install("shop")
    akua.upstream.rate = 200_000
    async with akua.client.stream(
        "GET", akua.path("acme/app", "blobs", LARGE_DIGEST), headers={"Authorization": basic(token)}
    ) as answer:
        await anext(answer.aiter_raw(1024))
        assert akua.upstream.streaming == 1
    for _ in range(100):
        if not akua.upstream.streaming:
            break
        await asyncio.sleep(0.02)
    assert akua.upstream.streaming == 0
    assert akua.proxy.services.streams.count() == 0


async def test_a_slow_client_slows_the_upstream_instead_of_filling_memory(akua: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await akua.install("shop")
    # The kernel may hold 36 MB a connection here; the client's side is kept small so that little but our own buffers is left.
    content = bytes(128 * 1024 * 1024)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    akua.upstream.repositories["acme/app"].blobs[digest] = content
    given, pieces = 0, akua.upstream._pieces

    async def counted(content: bytes) -> AsyncIterator[bytes]:
        nonlocal given
        async for piece in pieces(content):
            given += len(piece)
            yield piece

    monkeypatch.setattr(akua.upstream, "_pieces", counted)
    small = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    path = akua.path("acme/app", "blobs", digest)
    async with (
        httpx.AsyncClient(transport=small, base_url=f"http://{akua.host}") as client,
        client.stream("GET", path, headers={"Authorization": basic(token)}) as answer,
    ):
        held = answer.aiter_raw(1024)  # a generator that is dropped closes the connection
        await anext(held)
        await asyncio.sleep(0.5)
        assert given < 64 * 1024 * 1024
