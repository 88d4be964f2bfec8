"""An upstream that is silent, gone or indiscreet, as a pull meets it: the status says which, and nothing says the password."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from demo_registry.registry import UpstreamRegistry
from registry_access.model.resources import Key, Kind
from tests.support.proxied_world import WORKSPACE, World, resource, world


class Indiscreet(UpstreamRegistry):
    """`token_answer` replaces the token service; `silent` objects are never answered."""

    token_answer: Response | None = None
    silent = False

    async def _token(self, request: Request) -> Response:
        return self.token_answer or await super()._token(request)

    async def _content(self, request: Request) -> Response:
        if self.silent:
            await asyncio.sleep(30)
        return await super()._content(request)


@pytest.fixture
def upstream() -> Indiscreet:
    upstream = Indiscreet()
    upstream.repository("acme/app").add_image([{"a": b"b"}], "1.0")
    return upstream


@pytest.fixture
async def akua(tmp_path: Path, upstream: Indiscreet) -> AsyncIterator[World]:
    async with world(tmp_path, upstream, upstream_headers=2.0, upstream_login=20.0) as made:
        yield made


async def test_silence_is_504(akua: World, upstream: Indiscreet) -> None:
    token, path = await akua.install("shop"), akua.path("acme/app", "manifests", "1.0")
    assert (await akua.pull(token, path)).status_code == 200
    upstream.silent = True
    answer = await akua.pull(token, path)
    assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (504, "upstream-unreachable")
    upstream.silent = False
    assert (await akua.pull(token, path)).status_code == 200


async def test_a_registry_that_is_gone_is_502_and_then_503_until_it_is_asked_again(akua: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{free.getsockname()[1]}"
    spec = {"registry": gone, "type": "Anonymous", "insecure": True, "allowPrivateAddresses": True}
    await akua.store.create(resource("RegistryCredential", "gone", spec))
    token = await akua.install("shop", repositories=[f"{gone}/acme/app", f"{akua.upstream_host}/acme/app"])
    path = f"/v2/{gone.replace(':', '_')}/acme/app/manifests/1.0"
    answers = [await akua.pull(token, path) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [502] * 5 + [503]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
    assert {answer.json()["errors"][0]["detail"]["reason"] for answer in answers} == {"upstream-unreachable"}
    assert f'akua_upstream_circuits_opened_total{{registry="{gone}"}} 1.0'.encode() in akua.telemetry.exposition()
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 200


@pytest.mark.parametrize(
    ("status", "headers", "answered"),
    [(500, {}, 502), (502, {}, 502), (503, {}, 503), (504, {}, 504), (502, {"Retry-After": "21"}, 503)],
)
async def test_a_token_service_that_is_down_is_an_outage(
    akua: World, upstream: Indiscreet, status: int, headers: dict[str, str], answered: int
) -> None:
    token = await akua.install("shop")
    upstream.token_answer = Response(status_code=status, headers=headers)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (answered, "upstream-unreachable")
    if headers:
        assert answer.headers["retry-after"] == "21"


async def test_a_token_service_that_repeats_the_password_is_not_quoted(
    akua: World, upstream: Indiscreet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await akua.install("shop")
    secret = upstream.password
    for said in (f"invalid password: {secret}", f"no user with {secret[:10]}", f"{secret[::1].upper()}"):
        upstream.token_answer = JSONResponse({"errors": [{"code": "UNAUTHORIZED", "message": said}]}, 401)
        answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
        assert answer.status_code == 403
        everything = (answer.text + str(answer.headers) + str(await akua.audit()) + caplog.text).lower()
        assert secret[:8].lower() not in everything


async def test_a_credential_that_changes_is_asked_for_anew(akua: World, upstream: Indiscreet) -> None:
    token, path = await akua.install("shop"), akua.path("acme/app", "manifests", "1.0")
    upstream.token_answer = Response(status_code=401)
    assert (await akua.pull(token, path)).status_code == 403
    upstream.token_answer = None
    await akua.store.patch(Key(Kind.REGISTRY_CREDENTIAL, WORKSPACE, "upstream"), {"spec": {"displayName": "changed"}})
    assert (await akua.pull(token, path)).status_code == 200
