"""Asking upstreams: redirects without credentials, retries that are bounded, bodies that are resumed, dead registries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from programs.telemetry import Telemetry
from proxy.upstream.errors import AddressRefused, UpstreamMisbehaved, UpstreamTruncated, UpstreamUnreachable
from proxy.upstream.network.connection import Connections
from proxy.upstream.network.resumption import ResumableBody
from proxy.upstream.settings import ConnectionPolicy, UpstreamSettings
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from tests.http.upstream.test_logins import credential
from tests.support.tls import client_context, served_tls

ACCESS = ConnectionPolicy(private_addresses=True)
CONTENT = bytes(range(256)) * 2000


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Registry:
    """Open to all; `answer` decides about each request below /v2/name/."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path == "/v2/":
            await PlainTextResponse("")(scope, receive, send)
            return
        self.seen.append(request)
        await self.answer(request, send)

    async def answer(self, request: Request, send: Send) -> None:
        raise NotImplementedError


async def respond(response: Response, request: Request, send: Send) -> None:
    await response(request.scope, request.receive, send)


async def upstreams_for(
    stack: AsyncExitStack, app: Registry, **settings: object
) -> tuple[Upstreams, UpstreamAccess, UpstreamTarget]:
    server = await stack.enter_async_context(served_tls(app, "registry.example"))
    upstreams = Upstreams(UpstreamSettings(**settings), Telemetry(), overrides=server.overrides, tls=client_context())  # type: ignore[arg-type]
    await upstreams.start()
    stack.push_async_callback(upstreams.close)
    made = credential("Anonymous", server.authority, allowPrivateAddresses=True)
    return upstreams, UpstreamAccess("acme", made), UpstreamTarget(server.authority, "a/b", TargetKind.BLOBS, "sha256:x")


async def test_redirects_are_followed_without_authorization(stack: AsyncExitStack) -> None:
    class Blobs(Registry):
        async def answer(self, request: Request, send: Send) -> None:
            # As S3 does: two ways of authorization at once are an error.
            await respond(
                PlainTextResponse("two", 400) if "authorization" in request.headers else PlainTextResponse("blob"), request, send
            )

    blobs = Blobs()
    storage = await stack.enter_async_context(served_tls(blobs, "storage.example"))

    class Redirecting(Registry):
        async def answer(self, request: Request, send: Send) -> None:
            headers = {"Location": f"https://{storage.authority}/v2/x?signature=a%2Fb%2Bc"}
            await respond(Response(status_code=307, headers=headers), request, send)

    registry = await stack.enter_async_context(served_tls(Redirecting(), "registry.example"))
    connections = Connections(UpstreamSettings(), overrides=registry.overrides | storage.overrides, tls=client_context())
    await connections.start()
    stack.push_async_callback(connections.close)
    response = await connections.request(
        "GET", f"https://{registry.authority}/v2/a", headers={"Authorization": "Bearer canary"}, access=ACCESS
    )
    assert await response.read(100) == b"blob"
    assert "authorization" not in blobs.seen[0].headers
    assert blobs.seen[0].url.query == "signature=a%2Fb%2Bc"


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://registry.example/x", UpstreamMisbehaved),
        ("file:///etc/passwd", UpstreamMisbehaved),
        ("https://169.254.169.254/latest/meta-data", AddressRefused),
        ("https://user:pass@registry.example/", UpstreamMisbehaved),
        ("https://metadata.example/", AddressRefused),
    ],
)
async def test_redirects_inside_are_refused(stack: AsyncExitStack, location: str, error: type[Exception]) -> None:
    class Redirecting(Registry):
        async def answer(self, request: Request, send: Send) -> None:
            await respond(RedirectResponse(location, 302), request, send)

    server = await stack.enter_async_context(served_tls(Redirecting(), "registry.example"))
    overrides = server.overrides | {"metadata.example": "169.254.169.254"}
    connections = Connections(UpstreamSettings(), overrides=overrides, tls=client_context())
    await connections.start()
    stack.push_async_callback(connections.close)
    with pytest.raises(error):
        await connections.request("GET", f"https://{server.authority}/v2/a", headers={}, access=ACCESS)


async def test_redirects_without_end_end(stack: AsyncExitStack) -> None:
    class Loop(Registry):
        async def answer(self, request: Request, send: Send) -> None:
            await respond(RedirectResponse(str(request.url)), request, send)

    upstreams, access, target = await upstreams_for(stack, Loop())
    with pytest.raises(UpstreamMisbehaved, match="without end"):
        await upstreams.request(access, "GET", target, {})


async def test_a_5xx_is_tried_once_more_and_a_429_is_not(stack: AsyncExitStack) -> None:
    class Flaky(Registry):
        statuses = (503, 200, 429)

        async def answer(self, request: Request, send: Send) -> None:
            await respond(PlainTextResponse("x", self.statuses[min(len(self.seen) - 1, 2)]), request, send)

    app = Flaky()
    upstreams, access, target = await upstreams_for(stack, app)
    assert (await upstreams.request(access, "GET", target, {})).status == 200
    assert len(app.seen) == 2
    assert (await upstreams.request(access, "GET", target, {})).status == 429
    assert len(app.seen) == 3


class Cutting(Registry):
    """Cuts the body at half of what is left, `cuts` times; then sends the rest. Can do ranges, or not."""

    def __init__(self, cuts: int, ranges: bool = True) -> None:
        super().__init__()
        self.cuts, self.ranges = cuts, ranges

    async def answer(self, request: Request, send: Send) -> None:
        first = 0
        status, headers = 200, []
        if self.ranges and (asked := request.headers.get("range")):
            first = int(asked.removeprefix("bytes=").partition("-")[0])
            status = 206
            headers.append((b"content-range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}".encode()))
        body = CONTENT[first:]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if self.cuts:
            self.cuts -= 1
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body})


async def read_resumed(app: Cutting, stack: AsyncExitStack) -> bytes:
    upstreams, access, target = await upstreams_for(stack, app)
    response = await upstreams.request(access, "GET", target, {})
    body = ResumableBody(upstreams, access, target, {}, response)
    return b"".join([piece async for piece in body.pieces()])


@pytest.mark.parametrize("cuts", [0, 1, 3])
async def test_a_body_that_is_cut_short_is_resumed_unseen(stack: AsyncExitStack, cuts: int) -> None:
    app = Cutting(cuts)
    assert await read_resumed(app, stack) == CONTENT
    assert len(app.seen) == cuts + 1


async def test_a_body_that_cannot_be_resumed_fails(stack: AsyncExitStack) -> None:
    with pytest.raises(UpstreamTruncated):
        await read_resumed(Cutting(1, ranges=False), stack)


async def test_a_certificate_that_is_not_trusted_is_said(stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(served_tls(Registry(), "other.example"))
    connections = Connections(UpstreamSettings(), overrides={"registry.example": "127.0.0.1"}, tls=client_context())
    await connections.start()
    stack.push_async_callback(connections.close)
    port = server.authority.rpartition(":")[2]
    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await connections.request("GET", f"https://registry.example:{port}/v2/", headers={}, access=ACCESS)


async def test_a_name_that_does_not_resolve_is_said() -> None:
    connections = Connections(UpstreamSettings(), tls=client_context())
    await connections.start()
    with pytest.raises(UpstreamUnreachable):
        await connections.request("GET", "https://nowhere.invalid/v2/", headers={}, access=ACCESS)
    await connections.close()
