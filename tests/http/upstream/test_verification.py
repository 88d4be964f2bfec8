"""What `akua credential test` says, for each thing that can be wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from demo_registry.registry import UpstreamRegistry
from programs.telemetry import Telemetry
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from proxy.upstream.verification import VerificationOutcome, permission, verify_credential
from registry_access.model.workspace_secret import ResolvedSecret
from tests.http.upstream.test_logins import credential
from tests.support.serving import served


@asynccontextmanager
async def upstreams() -> AsyncIterator[Upstreams]:
    made = Upstreams(UpstreamSettings(connect_seconds=1, headers_seconds=1), Telemetry())
    await made.start()
    yield made
    await made.close()


def access(host: str, username: str, password: str) -> UpstreamAccess:
    made = credential("Basic", host, insecure=True, allowPrivateAddresses=True)
    return UpstreamAccess("acme", made, ResolvedSecret("1", {"username": username, "password": password}, "f"))


@pytest.mark.parametrize("login", ["basic", "bearer"])
async def test_a_credential_that_works_and_one_that_does_not(login: str) -> None:
    registry = UpstreamRegistry(login=login)
    registry.repository("acme/app").add_image([{"a": b"b"}], "1.0")
    async with served(registry.app()) as host, upstreams() as made:
        good, bad = access(host, registry.username, registry.password), access(host, registry.username, "wrong")
        outcomes = [
            (await verify_credential(made, good, host)).outcome,
            (await verify_credential(made, good, host, ("acme/app", "1.0"))).outcome,
            (await verify_credential(made, good, host, ("acme/app", "none"))).outcome,
        ]
        assert outcomes == [VerificationOutcome.WORKS, VerificationOutcome.WORKS, VerificationOutcome.NO_SUCH_REPOSITORY]
        refused = await verify_credential(Upstreams(UpstreamSettings(), Telemetry()), bad, host)
        assert refused.outcome is VerificationOutcome.HOST_UNREACHABLE  # that one was never started
        assert (await verify_credential(made, bad, host)).outcome is VerificationOutcome.BAD_CREDENTIALS
        assert "wrong" not in (await verify_credential(made, bad, host)).detail


@pytest.mark.parametrize(
    ("ping", "manifest", "outcome"),
    [
        (200, 403, VerificationOutcome.LACKS_SCOPE),
        (200, 401, VerificationOutcome.LACKS_SCOPE),
        (200, 429, VerificationOutcome.RATE_LIMITED),
        (200, 418, VerificationOutcome.FAILED),
    ],
)
async def test_what_a_registry_says_of_an_image(ping: int, manifest: int, outcome: VerificationOutcome) -> None:
    async def answer(request: Request) -> Response:
        status = ping if request.url.path == "/v2/" else manifest
        return PlainTextResponse("", status, {"Retry-After": "60"} if status == 429 else None)

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])])
    async with served(app) as host, upstreams() as made:
        found = await verify_credential(made, access(host, "u", "p"), host, ("a/b", "1"))
    assert found.outcome is outcome
    assert outcome is not VerificationOutcome.RATE_LIMITED or "60 s" in found.detail


@pytest.mark.parametrize("status", [404, 301, 500])
async def test_a_web_server_is_no_registry(status: int) -> None:
    async def answer(_: Request) -> Response:
        return PlainTextResponse("<html>", status)

    async with served(Starlette(routes=[Route("/{path:path}", answer)])) as host, upstreams() as made:
        assert (await verify_credential(made, access(host, "u", "p"), host)).outcome is VerificationOutcome.NOT_A_REGISTRY


async def test_nobody_there() -> None:
    async with upstreams() as made:
        found = await verify_credential(made, access("127.0.0.1:1", "u", "p"), "127.0.0.1:1")
    assert found.outcome is VerificationOutcome.HOST_UNREACHABLE


@pytest.mark.parametrize(
    ("registry", "word"),
    [
        ("ghcr.io", "read:packages"),
        ("registry.gitlab.com", "read_registry"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "ecr:BatchGetImage"),
        ("team.azurecr.io", "AcrPull"),
        ("eu-docker.pkg.dev", "Reader"),
        ("harbor.example", "read"),
    ],
)
def test_the_permission_is_named_in_the_registrys_words(registry: str, word: str) -> None:
    assert word in permission(registry)


@pytest.mark.parametrize("image", [None, ("a/b", "1")])
@pytest.mark.parametrize("login", [False, True])
async def test_a_web_page_that_answers_everything_is_no_registry(image: tuple[str, str] | None, login: bool) -> None:
    """A console, a login page or a proxy's error page answers 200 to any path."""

    async def answer(request: Request) -> Response:
        if login and "authorization" not in request.headers:
            return PlainTextResponse("who are you?", 401, {"WWW-Authenticate": 'Basic realm="console"'})
        return HTMLResponse("<!doctype html><title>Console</title>")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])])
    async with served(app) as host, upstreams() as made:
        found = await verify_credential(made, access(host, "u", "p"), host, image)
    assert found.outcome is VerificationOutcome.NOT_A_REGISTRY
    assert "web page" in found.detail


async def test_a_401_that_asks_for_nothing_is_no_registry_s() -> None:
    async def answer(_: Request) -> Response:
        return HTMLResponse("<html>log in</html>", 401)

    async with served(Starlette(routes=[Route("/{path:path}", answer)])) as host, upstreams() as made:
        assert (await verify_credential(made, access(host, "u", "p"), host)).outcome is VerificationOutcome.NOT_A_REGISTRY


@pytest.mark.parametrize(
    ("response", "works"),
    [
        (JSONResponse({}), True),
        (PlainTextResponse(""), True),
        (PlainTextResponse("true"), True),
        (HTMLResponse("<p>", headers={"Docker-Distribution-Api-Version": "registry/2.0"}), True),
        (PlainTextResponse("welcome to nginx"), False),
        (Response(b"x" * 100_000), False),
    ],
)
async def test_what_a_registry_s_yes_looks_like(response: Response, works: bool) -> None:
    async def answer(_: Request) -> Response:
        return response

    async with served(Starlette(routes=[Route("/v2/", answer)])) as host, upstreams() as made:
        assert (await verify_credential(made, access(host, "u", "p"), host)).ok is works


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(429, VerificationOutcome.RATE_LIMITED), (503, VerificationOutcome.HOST_UNREACHABLE)],
)
async def test_an_outage_is_not_taken_for_a_web_page(status: int, outcome: VerificationOutcome) -> None:
    async def answer(_: Request) -> Response:
        return PlainTextResponse("", status, {"Retry-After": "30"})

    async with served(Starlette(routes=[Route("/v2/", answer)])) as host, upstreams() as made:
        found = await verify_credential(made, access(host, "u", "p"), host)
    assert found.outcome is outcome
    assert status != 429 or found.detail.endswith("is rate-limiting this credential; retry after 30 s")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_token_service_that_is_down_says_nothing_about_the_credential(status: int) -> None:
    async def token(_: Request) -> Response:
        return PlainTextResponse("", status)

    async def ping(request: Request) -> Response:
        realm = f"http://{request.headers['host']}/token"
        return Response(status_code=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})

    async with served(Starlette(routes=[Route("/v2/", ping), Route("/token", token)])) as host, upstreams() as made:
        found = await verify_credential(made, access(host, "u", "p"), host)
    assert found.outcome is VerificationOutcome.FAILED
    assert str(status) in found.detail
