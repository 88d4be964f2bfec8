"""Every refusal: its status, code, reason, and the same decision id in answer and audit trail. And revocation, felt at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from registry_access.model.resources import Key, Kind
from tests.http.test_pulls import LARGE_DIGEST
from tests.support.proxied_world import WORKSPACE, World, basic, resource
from tests.support.state_conformance import until

SHOP = Key(Kind.INSTALL, WORKSPACE, "shop")
CREDENTIAL = Key(Kind.REGISTRY_CREDENTIAL, WORKSPACE, "upstream")
Arrange = Callable[[World], Awaitable[Any]]


async def settled(akua: World, condition: Callable[[], bool]) -> None:
    await until(condition)


def patch(key: Key, spec: dict[str, Any]) -> Arrange:
    return lambda akua: akua.store.patch(key, {"spec": spec})


REFUSALS: list[tuple[str, Arrange, int, str, str]] = [
    ("revoked", patch(SHOP, {"revoked": True}), 403, "DENIED", "install-revoked"),
    ("expired", patch(SHOP, {"expiresAt": "2020-01-01T00:00:00Z"}), 403, "DENIED", "install-expired"),
    ("superseded", patch(SHOP, {"tokenGeneration": 2}), 401, "UNAUTHORIZED", "token-superseded"),
    ("deleted", lambda akua: akua.store.delete(SHOP), 401, "UNAUTHORIZED", "install-unknown"),
    ("not bought", patch(SHOP, {"repositories": ["ghcr.io/acme/blog"]}), 403, "DENIED", "not-entitled"),
    ("no product", patch(SHOP, {"repositories": None, "product": "gone"}), 403, "DENIED", "not-entitled"),
    ("disabled", patch(CREDENTIAL, {"disabled": True}), 403, "DENIED", "credential-disabled"),
    ("no credential", lambda akua: akua.store.delete(CREDENTIAL), 403, "DENIED", "credential-missing"),
    ("other prefix", patch(CREDENTIAL, {"repositories": ["blog/*"]}), 403, "DENIED", "credential-missing"),
    ("no secret", lambda akua: akua.store.delete(Key(Kind.SECRET, WORKSPACE, "upstream")), 403, "DENIED", "secret-missing"),
    (
        "half a secret",
        lambda akua: akua.store.patch(Key(Kind.SECRET, WORKSPACE, "upstream"), {"stringData": {"password": ""}, "data": None}),
        403,
        "DENIED",
        "secret-invalid",
    ),
    (
        "another registry's secret",
        lambda akua: akua.store.patch(
            Key(Kind.SECRET, WORKSPACE, "upstream"),
            {"metadata": {"annotations": {"registry.akua.dev/registries": "other.example"}}},
        ),
        403,
        "DENIED",
        "secret-bound-elsewhere",
    ),
    (
        "two credentials",
        lambda akua: akua.store.create(
            resource("RegistryCredential", "twin", {"registry": akua.upstream_host, "type": "Basic", "secretName": "upstream"})
        ),
        403,
        "DENIED",
        "credential-ambiguous",
    ),
]


@pytest.mark.parametrize(("arrange", "status", "code", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
async def test_each_gate_refuses_with_its_reason(akua: World, arrange: Arrange, status: int, code: str, reason: str) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    assert (await akua.pull(token, path)).status_code == 200
    await arrange(akua)
    answer = await akua.pull(token, path)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["detail"]["reason"]) == (status, code, reason)
    assert error["detail"]["decision"] in error["message"]
    if status == 401:
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    row = (await akua.audit(result="refused"))[0]
    assert row.event.decision_id == error["detail"]["decision"]
    assert row.outcome is not None
    assert (row.outcome.reason, row.outcome.status) == (reason, status)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer nonsense",
        "Basic !!!",
        "Basic " + "QQ==",
        "Digest x",
        basic("a.b.c"),
        "Bearer " + "a" * 20000,
        "Basic OnBhc3N3b3Jk",  # an empty user name
    ],
)
async def test_what_is_no_token_is_refused_and_recorded(akua: World, header: str) -> None:
    answer = await akua.client.get(akua.path("acme/app", "manifests", "1.0"), headers={"Authorization": header})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    (row,) = await akua.audit(result="refused")
    assert row.outcome is not None
    assert (row.outcome.gate, row.outcome.reason) == ("token", "token-invalid")


async def test_an_expired_token_says_so(akua: World) -> None:
    await akua.install("shop")
    shop = akua.store.index.get(SHOP)
    assert shop is not None
    old = int(time.time()) - 7200
    token = akua.token("shop", shop.metadata.uid, issued_at=old, expires_at=old + 3600)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert answer.json()["errors"][0]["detail"]["reason"] == "token-expired"


async def test_a_token_of_a_deleted_install_does_not_open_its_successor(akua: World) -> None:
    token = await akua.install("shop")
    await akua.store.delete(SHOP)
    fresh = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    assert (await akua.pull(token, path)).json()["errors"][0]["detail"]["reason"] == "install-replaced"
    assert (await akua.pull(fresh, path)).status_code == 200


async def test_no_token_is_challenged_with_the_scope_and_not_recorded(akua: World) -> None:
    answer = await akua.client.get(akua.path("acme/app", "manifests", "1.0"))
    assert answer.status_code == 401
    assert f'scope="repository:{akua.name("acme/app")}:pull"' in answer.headers["www-authenticate"]
    assert await akua.audit() == ()


async def test_a_stale_state_refuses_and_asks_to_come_again(akua: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await akua.install("shop")
    watch = akua.store._watch
    assert watch is not None
    monkeypatch.setattr(watch, "_proven", watch._proven - 60)
    monkeypatch.setattr(watch, "_prove", lambda: None)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (503, "state-stale")
    assert answer.headers["retry-after"] == "5"


async def test_no_audit_no_pull(akua: World) -> None:
    import sqlite3

    token = await akua.install("shop")
    locker = sqlite3.connect(akua.database, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (503, "audit-unavailable")
    assert time.monotonic() - began < 3
    assert not akua.upstream.requests
    locker.execute("ROLLBACK")
    locker.close()


@pytest.mark.parametrize("product", ["storefront"])
async def test_a_customer_pulls_what_was_bought_and_nothing_else(akua: World, product: str) -> None:
    await akua.store.create(resource("Product", product, {"repositories": [f"{akua.upstream_host}/acme/app"]}))
    token = await akua.install("customer", product=product, repositories=None)
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 200
    refused = await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))
    assert refused.json()["errors"][0]["detail"]["reason"] == "not-entitled"


async def test_the_longest_prefix_chooses_the_credential(akua: World) -> None:
    spec = {
        "registry": akua.upstream_host,
        "type": "Basic",
        "secretName": "upstream",
        "repositories": ["acme/*"],
        "disabled": True,
    }
    await akua.store.create(resource("RegistryCredential", "narrow", spec))
    token = await akua.install("shop")
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert "credential narrow is disabled" in answer.json()["errors"][0]["message"]


CUTS: list[tuple[str, Arrange, str]] = [
    ("revoked", patch(SHOP, {"revoked": True}), "install-revoked"),
    ("deleted", lambda akua: akua.store.delete(SHOP), "install-unknown"),
    ("disabled", patch(CREDENTIAL, {"disabled": True}), "credential-disabled"),
    ("credential deleted", lambda akua: akua.store.delete(CREDENTIAL), "credential-missing"),
    ("no longer entitled", patch(SHOP, {"repositories": ["ghcr.io/acme/blog"]}), "not-entitled"),
]


@pytest.mark.parametrize(("arrange", "reason"), [row[1:] for row in CUTS], ids=[row[0] for row in CUTS])
async def test_a_stream_in_flight_is_cut(akua: World, arrange: Arrange, reason: str) -> None:
    token = await akua.install("shop")
    akua.upstream.rate = 300_000
    path = akua.path("acme/app", "blobs", LARGE_DIGEST)
    async with akua.client.stream("GET", path, headers={"Authorization": basic(token)}) as answer:
        pieces = answer.aiter_raw(1024)
        await anext(pieces)
        await arrange(akua)
        with pytest.raises(httpx.RemoteProtocolError):
            [piece async for piece in pieces]
    assert akua.upstream.streaming == 0
    (row,) = await akua.audit(install="shop")
    assert row.outcome is not None
    assert (row.outcome.result, row.outcome.reason) == ("cut", reason)


async def test_cutting_one_install_leaves_its_neighbour_pulling(akua: World) -> None:
    shop, blog = await akua.install("shop"), await akua.install("blog")
    akua.upstream.rate = 1_000_000

    async def pull(token: str) -> int:
        answer = await akua.pull(token, akua.path("acme/app", "blobs", LARGE_DIGEST))
        return len(answer.content)

    one, other = asyncio.ensure_future(pull(shop)), asyncio.ensure_future(pull(blog))
    await until(lambda: akua.upstream.streaming == 2)
    await akua.store.patch(SHOP, {"spec": {"revoked": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        await one
    assert await other == 2097152


async def test_un_revoking_restores(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    await akua.store.patch(SHOP, {"spec": {"revoked": True}})
    assert (await akua.pull(token, path)).status_code == 403
    await akua.store.patch(SHOP, {"spec": {"revoked": False}})
    assert (await akua.pull(token, path)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/ghcr.io%2Facme/app/manifests/1",
        "/v2/ghcr.io/acme/%2e%2e/x/manifests/1",
        "/v2/GHCR.io/a/manifests/1",
        "/v2/ghcr.io//a/manifests/1",
    ],
)
async def test_paths_outside_the_grammar_are_refused_before_anything_else(akua: World, path: str) -> None:
    reader, writer = await asyncio.open_connection(*akua.host.split(":"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"NAME_INVALID" in answer
