"""Where a redirect may lead, and what it takes along."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from proxy.upstream.errors import AddressRefused, UpstreamMisbehaved
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.settings import ConnectionPolicy, UpstreamSettings
from tests.support.serving import served
from tests.support.tls import client_context, served_tls

INSIDE = ConnectionPolicy(insecure=True, private_addresses=True)


class Host:
    """Redirects /v2/ to `location`; answers everything else, and keeps what came."""

    def __init__(self, location: str = "", status: int = 307) -> None:
        self.location, self.status = location, status
        self.seen: list[tuple[str, str, str]] = []

    def app(self) -> Starlette:
        async def answer(request: Request) -> Response:
            said = request.headers.get("authorization", "")
            self.seen.append((request.method, str(request.url.path), said))
            if self.location and request.url.path.startswith("/v2/"):
                return RedirectResponse(self.location, self.status)
            return PlainTextResponse("content")

        return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "POST"])])


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def connections(stack: AsyncExitStack, overrides: dict[str, str] | None = None, **settings: object) -> Connections:
    made = Connections(UpstreamSettings(**settings), overrides=overrides, tls=client_context())  # type: ignore[arg-type]
    await made.start()
    stack.push_async_callback(made.close)
    return made


@pytest.mark.parametrize("networks", [(), ("127.0.0.0/8", "::1/128")])
@pytest.mark.parametrize("form", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:7f00:1]"])
async def test_a_private_registry_leads_to_no_other_port_of_this_machine(
    stack: AsyncExitStack, form: str, networks: tuple[str, ...]
) -> None:
    """An inner service's answer, or our own /metrics, came back as a manifest."""
    inner, registry = Host(), Host()
    inner_host = await stack.enter_async_context(served(inner.app()))
    host = await stack.enter_async_context(served(registry.app()))
    registry.location = f"http://{form}:{inner_host.rpartition(':')[2]}/secrets?all=1"
    made = await connections(stack, allowed_networks=networks)
    with pytest.raises(AddressRefused):
        await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)
    assert inner.seen == []


async def test_our_own_port_is_not_asked_even_by_a_credential_of_its_own(stack: AsyncExitStack) -> None:
    inner = Host()
    host = await stack.enter_async_context(served(inner.app()))
    made = await connections(stack, own_ports=(int(host.rpartition(":")[2]),))
    for name in (host, host.replace("127.0.0.1", "localhost")):
        with pytest.raises(AddressRefused, match="itself listens"):
            await made.request("GET", f"http://{name}/metrics", headers={}, access=INSIDE)
    assert inner.seen == []


async def test_a_member_alone_opens_nothing_private(stack: AsyncExitStack) -> None:
    registry = Host()
    host = await stack.enter_async_context(served(registry.app()))
    made = await connections(stack, private_registries=())
    with pytest.raises(AddressRefused, match="AKUA_PRIVATE_REGISTRIES"):
        await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)
    with pytest.raises(AddressRefused, match="AKUA_PRIVATE_REGISTRIES"):
        await made.request("GET", f"https://{host}/v2/a", headers={}, access=ConnectionPolicy(private_addresses=True))
    assert registry.seen == []
    made = await connections(stack, private_registries=(host,))
    assert (await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)).status == 200


@pytest.mark.parametrize("port", [22, 25, 443 - 1])
async def test_a_redirect_leads_to_ports_of_the_web(stack: AsyncExitStack, port: int) -> None:
    registry = Host(f"https://8.8.8.8:{port}/")
    host = await stack.enter_async_context(served(registry.app()))
    made = await connections(stack)
    with pytest.raises(AddressRefused, match=f"port {port}"):
        await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)


@pytest.mark.parametrize(
    "location",
    [
        "https://a.example:99999/",
        "https://a.example\\@b.example/",
        "https://a b.example/",
        "https://[/",
        "https://[::1/",
        "https://a.example:port/",
        "https://a\xff.example/",  # not UTF-8 on the wire
        "https://\xe2\x84\x80.example/",  # a letter that normalization turns into "a/c"
    ],
)
async def test_a_redirect_that_is_read_in_two_ways_is_followed_in_neither(stack: AsyncExitStack, location: str) -> None:
    class Raw(Host):
        def app(self) -> Starlette:
            async def answer(_: Request) -> Response:
                return Response(status_code=307, headers={"Location": location})

            return Starlette(routes=[Route("/{path:path}", answer)])

    host = await stack.enter_async_context(served(Raw().app()))
    made = await connections(stack)
    with pytest.raises(UpstreamMisbehaved):
        await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/a%2Fb%20c?sig=x%2By+z%3D&d=%C3%A9", b"/a%2Fb%20c?sig=x%2By+z%3D&d=%C3%A9"),
        (b"/a b?c=d e#f", b"/a%20b?c=d%20e"),
        ("/caf\u00e9".encode(), b"/caf%C3%A9"),
        (b"/caf\xe9?a=\xff", b"/caf%E9?a=%FF"),
    ],
)
async def test_a_redirect_s_target_is_asked_for_byte_by_byte(stack: AsyncExitStack, location: bytes, target: bytes) -> None:
    """Kriechi/aws-s3-reverse-proxy#3: signed URLs, and names of files in other encodings than UTF-8."""
    seen: list[bytes] = []

    class Raw(Host):
        def app(self) -> Starlette:
            async def answer(request: Request) -> Response:
                seen.append(request.scope["raw_path"] + (b"?" + request.scope["query_string"]).rstrip(b"?"))
                response = Response(status_code=200 if len(seen) > 1 else 307)
                response.raw_headers.append((b"location", location))
                return response

            return Starlette(routes=[Route("/{path:path}", answer)])

    host = await stack.enter_async_context(served(Raw().app()))
    made = await connections(stack)
    answer = await made.request("GET", f"http://{host}/v2/a", headers={}, access=INSIDE)
    assert (answer.status, seen[1:]) == (200, [target])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("location", ["/moved/a?b=c", "http://HOST/moved/a?b=c"])
async def test_within_one_origin_authorization_is_kept(stack: AsyncExitStack, status: int, location: str) -> None:
    registry = Host(status=status)
    host = await stack.enter_async_context(served(registry.app()))
    registry.location = location.replace("HOST", host)
    made = await connections(stack)
    headers = {"Authorization": "Bearer canary"}
    answer = await made.request("GET", f"http://{host}/v2/a", headers=headers, access=INSIDE)
    assert (answer.status, answer.redirected) == (200, False)
    assert registry.seen[-1] == ("GET", "/moved/a", "Bearer canary")


async def test_beyond_it_authorization_is_dropped_and_does_not_come_back(stack: AsyncExitStack) -> None:
    registry, storage = Host(), Host()
    async with served_tls(registry.app(), "registry.example") as first, served_tls(storage.app(), "storage.example") as second:
        registry.location = f"https://{second.authority}/v2/there"
        storage.location = f"https://{first.authority}/back"
        made = await connections(stack, first.overrides | second.overrides)
        headers = {"Authorization": "Bearer canary"}
        answer = await made.request("GET", f"https://{first.authority}/v2/a", headers=headers, access=INSIDE)
        assert answer.redirected
        await made.close()
    assert [said for _, _, said in storage.seen] == [""]
    assert [said for _, _, said in registry.seen] == ["Bearer canary", ""]


async def test_a_login_is_posted_again_within_its_origin_only(stack: AsyncExitStack) -> None:
    service = Host()
    host = await stack.enter_async_context(served(service.app()))
    service.location = f"http://{host}/moved"
    made = await connections(stack)
    for location, status, reached in ((f"http://{host}/moved", 200, 2), ("http://8.8.8.8/", 307, 1)):
        service.location, service.seen = location, []
        answer = await made.request(
            "POST", f"http://{host}/v2/token", headers={}, access=INSIDE, data=b"secret", follow=Follow.WITHIN
        )
        assert (answer.status, len(service.seen), service.seen[-1][0]) == (status, reached, "POST")


async def test_plain_http_storage_of_an_https_registry_is_the_credential_s_word(stack: AsyncExitStack) -> None:
    registry, storage = Host(), Host()
    storage_host = await stack.enter_async_context(served(storage.app()))
    async with served_tls(registry.app(), "registry.example") as server:
        registry.location = f"http://storage.example:{storage_host.rpartition(':')[2]}/blob"
        made = await connections(stack, server.overrides | {"storage.example": "127.0.0.1"})
        url = f"https://{server.authority}/v2/a"
        with pytest.raises(UpstreamMisbehaved, match="insecure: true"):
            await made.request("GET", url, headers={}, access=ConnectionPolicy(private_addresses=True))
        answer = await made.request("GET", url, headers={"Authorization": "Bearer canary"}, access=INSIDE)
        assert answer.status == 200
        await made.close()
    assert storage.seen == [("GET", "/blob", "")]
