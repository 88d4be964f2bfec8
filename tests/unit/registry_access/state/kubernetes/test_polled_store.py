"""A remote cluster is somebody else's: its answers fill no memory and take no time without end."""

from __future__ import annotations

import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from registry_access.model.errors import StateUnavailable
from registry_access.state.kubernetes import polled_store
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.polled_store import PolledStore

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAXIMUM = 100_000


@contextlib.asynccontextmanager
async def cluster(answer: Answer) -> AsyncIterator[PolledStore]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    access = ClusterAccess(f"http://127.0.0.1:{port}", ssl.create_default_context(), answers_maximum=MAXIMUM)
    store = PolledStore(access, fresh_seconds=0)
    try:
        yield store
    finally:
        await store.close()
        await runner.cleanup()


async def honest(request: web.Request) -> web.Response:
    items = (
        [{"metadata": {"name": "shop-prod", "uid": "1", "resourceVersion": "7", "annotations": {"note": "x" * 1000}}}]
        if "namespaces" in request.path
        else []
    )
    return web.json_response({"metadata": {"resourceVersion": "7"}, "items": items})


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 65536)
    return response


async def without_last_page(request: web.Request) -> web.Response:
    return web.json_response({"metadata": {"continue": "more"}, "items": []})


async def unpacking(request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b" " * 5_000_000), headers={"Content-Encoding": "gzip"})


async def odd(request: web.Request) -> web.Response:
    return web.json_response({"metadata": [], "items": [1, 2]})


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (endless, "more than 100,000 bytes"),
        (unpacking, "not JSON"),
        (odd, "something else"),
        (without_last_page, "listed within|more than"),
    ],
)
async def test_what_is_no_good_answer(answer: Answer, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if answer is without_last_page:
        monkeypatch.setattr(polled_store, "_LIST_SECONDS", 1.0)
    async with cluster(answer) as store:
        with pytest.raises(StateUnavailable, match=problem):
            await store.refresh()


async def test_each_look_may_bring_as_much_again() -> None:
    async with cluster(honest) as store:
        for _ in range(MAXIMUM // 1000 + 10):
            await store.refresh(at_once=True)
        assert [space.metadata.name for space in store.index.namespaces()] == ["shop-prod"]
