"""Logins that end before their stated time, token services that are down, and how long a login may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from proxy.upstream.access import UpstreamAccess
from proxy.upstream.errors import LoginFailed, LoginUnavailable, RateLimited, UpstreamTimeout
from proxy.upstream.logins.identity import Identity, UserPassword
from proxy.upstream.tokens.identities import Identities
from tests.http.upstream.test_isolation import Host, World, access


class Registry(Host):
    """Bearer, or Basic where `basic`. `good` is what it accepts; `logins` counts what was issued."""

    def __init__(self, refusal: int = 401, *, basic: bool = False) -> None:
        super().__init__()
        self.refusal, self.basic, self.logins, self.good = refusal, basic, 0, ""
        self.issue: Callable[[], Response] = self.next_token
        self.on("/v2/", self.content).on("/token", lambda _: self.issue())

    def next_token(self) -> Response:
        self.logins += 1
        self.good = f"Bearer t{self.logins}"
        return JSONResponse({"token": f"t{self.logins}", "expires_in": 3600})

    def content(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if given and given == self.good:
            return PlainTextResponse("content")
        challenge = f'Bearer realm="https://{request.headers["host"]}/token"'
        challenged = {"WWW-Authenticate": 'Basic realm="x"' if self.basic else challenge}
        if not given:
            return Response(status_code=401, headers=challenged)
        return JSONResponse({"errors": [{"code": "DENIED", "message": "expired"}]}, self.refusal, challenged)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("refusal", [401, 403])
async def test_a_token_that_is_refused_early_is_renewed_once(stack: AsyncExitStack, refusal: int) -> None:
    world, host = World(stack), Registry(refusal)
    registry = await world.serve(host, "registry.example")
    mine = access(registry)
    assert await world.get(mine, registry) == 200
    host.good = "nothing"
    assert await world.get(mine, registry) == 200
    assert host.logins == 2
    # Refused with a new one too: then the refusal is true, and the token service is left in peace.
    host.issue = lambda: JSONResponse({"token": "useless", "expires_in": 3600})
    host.good = "nothing"
    for _ in range(4):
        assert await world.get(mine, registry) == refusal
    assert host.paths().count("/token") == 3


async def test_many_at_once_renew_once(stack: AsyncExitStack) -> None:
    world, host = World(stack), Registry(403)
    registry = await world.serve(host, "registry.example")
    mine = access(registry)
    assert await world.get(mine, registry) == 200
    host.good = "nothing"
    assert set(await asyncio.gather(*(world.get(mine, registry) for _ in range(20)))) == {200}
    assert host.logins <= 4


@pytest.mark.parametrize("refusal", [401, 403])
async def test_a_password_that_expires_is_renewed_too(
    stack: AsyncExitStack, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECR's, which is presented as Basic and answered 403 "Your authorization token has expired"."""
    world, host = World(stack), Registry(refusal, basic=True)
    registry = await world.serve(host, "registry.example")
    given: list[Identity] = []

    async def log_in(identities: Identities, access: UpstreamAccess, registry: str) -> Identity:
        given.append(UserPassword("AWS", f"password-{len(given)}", 43200.0))
        host.good = given[-1].header
        return given[-1]

    monkeypatch.setattr(Identities, "_log_in", log_in)
    mine = access(registry)
    assert [await world.get(mine, registry) for _ in range(3)] == [200, 200, 200]
    assert len(given) == 1
    host.good = "nothing"
    assert await world.get(mine, registry) == 200
    assert len(given) == 2


async def test_a_login_behind_the_token_is_renewed_when_the_token_service_refuses_it(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ACR's refresh token, which lives three hours and may be withdrawn before."""
    world, host = World(stack), Registry()
    registry = await world.serve(host, "registry.example")
    given: list[UserPassword] = []
    accepted = ["any"]

    async def log_in(identities: Identities, access: UpstreamAccess, registry: str) -> Identity:
        given.append(UserPassword("guid", f"refresh-{len(given)}", 10800.0))
        return given[-1]

    def issue(request: Request) -> Response:
        good = "any" in accepted or request.headers["authorization"] in accepted
        return host.next_token() if good else Response(status_code=401)

    monkeypatch.setattr(Identities, "_log_in", log_in)
    host.on("/token", issue)
    mine = access(registry)
    assert await world.get(mine, registry, "acme/a") == 200
    accepted[:] = [UserPassword("guid", "refresh-1").header]
    assert await world.get(mine, registry, "acme/b") == 200
    assert len(given) == 2
    accepted.clear()
    for number in range(4):
        with pytest.raises(LoginFailed):
            await world.get(mine, registry, f"acme/c{number}")
    assert len(given) == 3


async def test_a_static_password_is_not_tried_twice(stack: AsyncExitStack) -> None:
    world, host = World(stack), Registry(basic=True)
    registry = await world.serve(host, "registry.example")
    assert await world.get(access(registry), registry) == 401
    assert host.paths() == ["/v2/", "/v2/acme/a/blobs/sha256:1"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_token_service_that_is_down_is_asked_once_more_and_is_no_bad_credential(
    stack: AsyncExitStack, status: int
) -> None:
    world, host = World(stack), Registry()
    registry = await world.serve(host, "registry.example")
    answers = [Response(status_code=status), host.next_token()]
    host.issue = lambda: answers.pop(0)
    assert await world.get(access(registry), registry) == 200
    host.issue = lambda: Response(status_code=status)
    with pytest.raises(LoginUnavailable) as caught:
        await world.get(access(registry, "globex"), registry)
    assert (caught.value.status, caught.value.retry_after) == (status, "")


async def test_what_a_token_service_says_of_when_is_kept_and_it_is_not_asked_again(stack: AsyncExitStack) -> None:
    world, host = World(stack), Registry()
    registry = await world.serve(host, "registry.example")
    for status, error in ((503, LoginUnavailable), (429, RateLimited)):
        host.seen.clear()
        host.issue = lambda status=status: Response(status_code=status, headers={"Retry-After": "17"})  # type: ignore[misc]
        with pytest.raises(error) as caught:
            await world.get(access(registry), registry)
        assert caught.value.retry_after == "17"  # type: ignore[attr-defined]
        assert host.paths().count("/token") == 1


async def test_a_login_is_bounded_by_its_own_deadline(stack: AsyncExitStack) -> None:
    world, host = World(stack, login_seconds=0.1), Registry()
    registry = await world.serve(host, "registry.example")
    host.silent = "/token"
    with pytest.raises(UpstreamTimeout, match=r"login for registry\.example.* within 0\.1 s"):
        await world.get(access(registry), registry)


async def test_a_token_service_s_redirect_within_its_host_is_followed(stack: AsyncExitStack) -> None:
    world, host = World(stack), Registry()
    registry = await world.serve(host, "registry.example")
    host.on("/v3/token", lambda _: host.next_token())
    host.issue = lambda: RedirectResponse(f"https://{registry}/v3/token", 307)
    assert await world.get(access(registry), registry) == 200
    assert [said for _, path, said in host.seen if path == "/v3/token"] == ["Basic dTpjYW5hcnk="]


async def test_and_to_another_host_is_not(stack: AsyncExitStack) -> None:
    world, host, evil = World(stack), Registry(), Host()
    registry = await world.serve(host, "registry.example")
    there = await world.serve(evil, "evil.example")
    host.issue = lambda: RedirectResponse(f"https://{there}/token", 307)
    with pytest.raises(LoginFailed, match="307"):
        await world.get(access(registry), registry)
    assert evil.seen == []


@pytest.mark.parametrize("member", ["message", "details", "error_description"])
async def test_a_token_service_s_words_never_show_the_password(stack: AsyncExitStack, member: str) -> None:
    world, host = World(stack), Registry()
    registry = await world.serve(host, "registry.example")
    for status in (401, 403, 500):
        host.issue = lambda status=status: JSONResponse({member: "bad password canary for u"}, status)  # type: ignore[misc]
        with pytest.raises(LoginFailed) as caught:
            await world.get(access(registry), registry)
        assert "canary" not in str(caught.value)
        assert str(status) in str(caught.value)
