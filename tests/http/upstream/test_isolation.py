"""What one object, repository, redirect, login or tenant meets is its own affair, and never another's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from proxy.metrics import ProxyMetrics
from proxy.upstream.access import UpstreamAccess
from proxy.upstream.errors import (
    AddressRefused,
    CircuitOpen,
    LoginFailed,
    RealmRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import Upstreams
from registry_access.model.workspace_secret import ResolvedSecret
from tests.http.upstream.test_logins import credential
from tests.support.tls import client_context, served_tls

Answer = Callable[[Request], Response]


class Host:
    """`answers` by path prefix, the first that fits; `seen` are (method, path, authorization)."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: list[tuple[str, Answer]] = []
        self.seen: list[tuple[str, str, str]] = []
        self.silent = ""

    def on(self, prefix: str, answer: Answer) -> Host:
        self.answers.insert(0, (prefix, answer))
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path
        self.seen.append((request.method, path, request.headers.get("authorization", "")))
        if self.silent and path.startswith(self.silent):
            await asyncio.sleep(30)
        response = next(
            (answer(request) for prefix, answer in self.answers if path.startswith(prefix)), Response(status_code=404)
        )
        await response(scope, receive, send)

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.seen]


def say(text: str = "content", status: int = 200, **headers: str) -> Answer:
    return lambda request: PlainTextResponse(text, status, {name.replace("_", "-"): value for name, value in headers.items()})


def unless(authorization: str, challenge: str, text: str = "content") -> Answer:
    """Asks for a login by `challenge` until it is `authorization`."""

    def answer(request: Request) -> Response:
        if request.headers.get("authorization") == authorization:
            return PlainTextResponse(text)
        return Response(status_code=401, headers={"WWW-Authenticate": challenge})

    return answer


def token(text: str) -> Answer:
    return lambda request: JSONResponse({"token": text, "expires_in": 300})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def no_pause() -> None:
    """Between two tries."""


class World:
    """Hosts by name, and upstreams that reach them."""

    def __init__(self, stack: AsyncExitStack, **settings: object) -> None:
        self.stack, self.overrides = stack, {"nothing.example": "127.0.0.1"}
        self.settings = UpstreamSettings(**settings)  # type: ignore[arg-type]
        self.upstreams = Upstreams(self.settings, ProxyMetrics(), overrides=self.overrides, tls=client_context(), pause=no_pause)

    async def serve(self, host: Host, name: str) -> str:
        server = await self.stack.enter_async_context(served_tls(host, name))
        self.overrides.update(server.overrides)
        if not self.upstreams._connections._sessions:
            await self.upstreams.start()
            self.stack.push_async_callback(self.upstreams.close)
        return server.authority

    async def get(self, access: UpstreamAccess, registry: str, repository: str = "acme/a", digest: str = "sha256:1") -> int:
        response = await self.upstreams.request(access, "GET", UpstreamTarget(registry, repository, TargetKind.BLOBS, digest), {})
        response.close()
        return response.status


def access(registry: str, workspace: str = "acme", version: str = "1", **spec: object) -> UpstreamAccess:
    made = credential("Basic", registry, allowPrivateAddresses=True, **spec)
    return UpstreamAccess(workspace, made, ResolvedSecret(version, {"username": "u", "password": "canary"}, f"f{version}"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_object_s_5xx_stops_no_other(stack: AsyncExitStack) -> None:
    host = Host().on("/v2/", say()).on("/v2/acme/a/blobs/sha256:bad", say("broken", 500))
    world = World(stack, circuit_failures=2)
    registry = await world.serve(host, "registry.example")
    for _ in range(8):
        assert await world.get(access(registry), registry, digest="sha256:bad") == 500
    assert await world.get(access(registry), registry) == 200


async def test_slow_objects_stop_no_other(stack: AsyncExitStack) -> None:
    host = Host().on("/v2/", say())
    host.silent = "/v2/acme/a/blobs/sha256:slow"
    world = World(stack, circuit_failures=2, headers_seconds=1.5)
    registry = await world.serve(host, "registry.example")
    assert await world.get(access(registry), registry) == 200
    slow = (world.get(access(registry), registry, digest=f"sha256:slow{number}") for number in range(4))
    assert {type(outcome) for outcome in await asyncio.gather(*slow, return_exceptions=True)} == {UpstreamTimeout}
    await until(lambda: not world.upstreams._probes)
    assert await world.get(access(registry), registry) == 200


@pytest.mark.parametrize("how", ["silent", "503"])
async def test_a_registry_whose_own_word_fails_too_is_left_alone_for_this_key(stack: AsyncExitStack, how: str) -> None:
    host = Host().on("/v2/", say())
    world = World(stack, circuit_failures=2, headers_seconds=1.5)
    registry = await world.serve(host, "registry.example")
    assert await world.get(access(registry), registry) == 200
    if how == "silent":
        host.silent = "/v2/"
    else:
        host.on("/v2/", say("down", 503))
    both = await asyncio.gather(*(world.get(access(registry), registry) for _ in range(2)), return_exceptions=True)
    assert all(outcome == 503 or (how == "silent" and isinstance(outcome, UpstreamTimeout)) for outcome in both)
    await until(lambda: not world.upstreams._probes)
    asked = len(host.seen)
    with pytest.raises(CircuitOpen, match="in a row") as caught:
        await world.get(access(registry), registry)
    assert 1 <= int(caught.value.retry_after) <= 10
    assert len(host.seen) == asked
    host.silent = ""
    host.on("/v2/", say())
    assert await world.get(access(registry, "globex"), registry) == 200
    assert await world.get(access(registry, version="2"), registry) == 200


async def test_a_registry_that_cannot_be_connected_to_is_left_alone_for_this_key(stack: AsyncExitStack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = f"127.0.0.1:{free.getsockname()[1]}"
    world = World(stack, circuit_failures=3)
    await world.serve(Host(), "other.example")
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable, match="refused") as caught:
            await world.get(access(registry), registry)
        assert not isinstance(caught.value, CircuitOpen)
    with pytest.raises(CircuitOpen):
        await world.get(access(registry), registry)
    with pytest.raises(UpstreamUnreachable, match="refused"):
        await world.get(access(registry, "globex"), registry)


async def test_our_own_refusals_open_nothing(stack: AsyncExitStack) -> None:
    """A registry of one workspace at an address that it may not reach; a certificate that is not trusted."""
    world = World(stack, circuit_failures=1, private_registries=())
    await world.serve(Host(), "other.example")
    world.overrides["bad.example"] = world.overrides["other.example"]
    port = (await world.serve(Host(), "third.example")).rpartition(":")[2]
    for registry, error in (("10.0.0.1:5000", AddressRefused), (f"bad.example:{port}", UpstreamUnreachable)):
        for _ in range(3):
            with pytest.raises(error) as caught:
                await world.get(access(registry), registry)
            assert not isinstance(caught.value, CircuitOpen)


async def test_a_dead_login_opens_nothing(stack: AsyncExitStack) -> None:
    world = World(stack, circuit_failures=1)
    host = Host().on("/v2/", unless("", "Bearer realm=x"))
    registry = await world.serve(host, "registry.example")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}/token"
    values = {"client_id": "i", "client_secret": "s", "token_url": url}
    made = credential("OAuth", registry, allowPrivateAddresses=True)
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable, match="refused") as caught:
            await world.get(UpstreamAccess("acme", made, ResolvedSecret("1", values, "f")), registry)
        assert not isinstance(caught.value, CircuitOpen)


async def test_storage_that_is_down_opens_nothing(stack: AsyncExitStack) -> None:
    world = World(stack, circuit_failures=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = Host().on("/v2/", say()).on("/v2/acme/moved/", say("", 307, Location=f"https://storage.example:{port}/x"))
    registry = await world.serve(host, "registry.example")
    world.overrides["storage.example"] = "127.0.0.1"
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await world.get(access(registry), registry, "acme/moved")
    assert await world.get(access(registry), registry) == 200


async def test_what_a_repository_asks_for_is_asked_of_that_repository(stack: AsyncExitStack) -> None:
    world, host = World(stack), Host()
    registry = await world.serve(host, "registry.example")
    bearer = f'Bearer realm="https://{registry}/token",service="s"'
    basic = "Basic dTpjYW5hcnk="
    host.on("/v2/", unless("Bearer t", bearer)).on("/token", token("t"))
    host.on("/v2/acme/evil/", unless("Bearer never", 'Bearer realm="https://evil.example/token"'))
    host.on("/v2/acme/plain/", unless(basic, 'Basic realm="x"'))
    mine = access(registry)
    assert await world.get(mine, registry) == 200
    for _ in range(2):
        with pytest.raises(RealmRefused, match=r"evil\.example"):
            await world.get(mine, registry, "acme/evil")
        assert await world.get(mine, registry, "acme/plain") == 200
        assert await world.get(mine, registry) == 200
    # What worked for a repository is remembered for it: it is asked once, with the right scheme.
    host.seen.clear()
    assert await world.get(mine, registry, "acme/plain") == 200
    assert host.seen == [("GET", "/v2/acme/plain/blobs/sha256:1", basic)]


async def test_a_challenge_from_behind_a_redirect_is_not_the_registry_s(stack: AsyncExitStack) -> None:
    """Neither for this workspace nor for others, and not for an hour."""
    world, host, storage = World(stack), Host(), Host()
    registry = await world.serve(host, "registry.example")
    there = await world.serve(storage, "storage.example")
    host.on("/v2/", unless("Bearer t", f'Bearer realm="https://{registry}/token"')).on("/token", token("t"))
    host.on("/v2/acme/moved/", say("", 307, Location=f"https://{there}/object"))
    storage.on("/", say("", 401, WWW_Authenticate='Basic realm="evil"'))
    for workspace in ("acme", "globex", "acme"):
        assert await world.get(access(registry, workspace), registry, "acme/moved") == 401
        assert await world.get(access(registry, workspace), registry) == 200
    assert {said for _, _, said in storage.seen} == {""}


@pytest.mark.parametrize("stated", [True, False])
async def test_a_redirect_to_another_registry_logs_in_where_its_token_service_is_stated(
    stack: AsyncExitStack, stated: bool
) -> None:
    world, host, other, tokens = World(stack), Host(), Host(), Host()
    registry = await world.serve(host, "registry.example")
    there = await world.serve(other, "other.example")
    realm = await world.serve(tokens, "tokens.example")
    host.on("/v2/acme/a/", say("", 307, Location=f"https://{there}/v2/mirror/acme/a/blobs/sha256:1")).on("/v2/x", say())
    host.on("/v2/", lambda request: PlainTextResponse("") if request.url.path == "/v2/" else host.answers[1][1](request))
    host.answers.sort(key=lambda item: -len(item[0]))
    other.on("/v2/", unless("Bearer second", f'Bearer realm="https://{realm}/token",scope="repository:secret:pull,push"'))
    tokens.on("/token", token("second"))
    mine = access(registry, realmHosts=["tokens.example"] if stated else [])
    if not stated:
        with pytest.raises(RealmRefused, match=r"tokens\.example"):
            await world.get(mine, registry)
        assert tokens.seen == []
        return
    assert await world.get(mine, registry) == 200
    # The credential went to the token service alone, for the repository that the redirect named and for pulling it.
    assert {said for _, _, said in tokens.seen} == {"Basic dTpjYW5hcnk="}
    assert {said for _, _, said in other.seen} == {"", "Bearer second"}


async def test_the_second_registry_s_own_token_service_is_nobody_s_word(stack: AsyncExitStack) -> None:
    world, host, other = World(stack), Host(), Host()
    registry = await world.serve(host, "registry.example")
    there = await world.serve(other, "other.example")
    host.on("/v2/", say()).on("/v2/acme/", say("", 307, Location=f"https://{there}/v2/acme/a/blobs/sha256:1"))
    other.on("/", say("", 401, WWW_Authenticate=f'Bearer realm="https://{there}/token"'))
    with pytest.raises(LoginFailed):
        await world.get(access(registry), registry)
    assert {said for _, _, said in other.seen} == {""}


async def test_many_at_once_ask_a_registry_once_how_it_wants_to_be_asked(stack: AsyncExitStack) -> None:
    world, host = World(stack), Host()
    registry = await world.serve(host, "registry.example")
    host.on("/v2/", unless("Bearer t", f'Bearer realm="https://{registry}/token"')).on("/token", token("t"))
    mine = access(registry)
    assert set(await asyncio.gather(*(world.get(mine, registry) for _ in range(20)))) == {200}
    assert (host.paths().count("/v2/"), host.paths().count("/token")) == (1, 1)


async def test_a_registry_that_redirects_even_its_version_check_is_asked_once(stack: AsyncExitStack) -> None:
    """As registry.k8s.io does. What is behind the redirect does not speak for it."""
    world, host, other = World(stack), Host(), Host()
    registry = await world.serve(host, "registry.example")
    there = await world.serve(other, "other.example")
    host.on("/v2/", say("", 307, Location=f"https://{there}/v2/")).on("/v2/acme/", say())
    other.on("/", say("", 401, WWW_Authenticate='Basic realm="evil"'))
    for _ in range(3):
        assert await world.get(access(registry), registry) == 200
    assert host.paths().count("/v2/") == 1
    assert other.seen == []
