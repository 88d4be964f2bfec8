"""How a watch cache reads everything: through the watch where the server tells it so, else by pages, and never back in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import API_VERSION
from registry_access.runtime.backoff import Backoff
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.client.api import KubernetesApi, Unavailable
from registry_access.state.kubernetes.client.interface import Listed
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.reflector import Reflector
from tests.support.state_conformance import until

Event = dict[str, Any]


def product(name: str, version: int, uid: str = "") -> Event:
    metadata = {"name": name, "namespace": "acme", "uid": uid or name, "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "kind": "Product", "metadata": metadata, "spec": {"repositories": ["ghcr.io/acme/*"]}}


def added(name: str, version: int, uid: str = "") -> Event:
    return {"type": "ADDED", "object": product(name, version, uid)}


def end(version: int) -> Event:
    metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
    return {"type": "BOOKMARK", "object": {"kind": "Product", "metadata": metadata}}


class ScriptedApi(KubernetesApi):
    """`watches` are what the watches say, one after the other; the last one goes on for ever. An exception is raised."""

    def __init__(self, *watches: list[Event] | Exception, pages: list[Event] | None = None) -> None:
        self.watches = list(watches)
        self.listed = pages or []
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def watch(self, scope: WatchScope, resource_version: str, seconds: int) -> AsyncIterator[AsyncIterator[Event]]:
        self.asked.append(f"watch {resource_version}")
        said = self.watches.pop(0) if self.watches else []
        if isinstance(said, Exception):
            raise said

        async def events() -> AsyncIterator[Event]:
            for event in said:
                yield event
            if not self.watches:
                await asyncio.Event().wait()

        yield events()

    async def pages(self, scope: Listed, *, accept: str = "", whole: bool = False) -> AsyncIterator[Event]:
        self.asked.append("list")
        for page in self.listed:
            yield page


def page(version: int, *items: Event) -> Event:
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


@contextlib.asynccontextmanager
async def reflecting(api: ScriptedApi) -> AsyncIterator[tuple[Reflector, Callable[[], list[tuple[str, str]]]]]:
    """A running reflector, and what the index holds: names with UIDs, sorted."""
    index = ResourceIndex()
    reflector = Reflector(api, WatchScope(Kind.PRODUCT), Feed(index), "replica", backoff=Backoff(0.001, 0.01))
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector, lambda: sorted((item.metadata.name, item.metadata.uid) for item in index.products())
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_watch_tells_everything_and_goes_on() -> None:
    later = {"type": "DELETED", "object": product("one", 12)}
    api = ScriptedApi([added("two", 9), added("one", 3), end(10), added("three", 11), later])
    async with reflecting(api) as (reflector, held):
        await until(lambda: held() == [("three", "three"), ("two", "two")])
        assert reflector.synced.is_set()
        assert reflector.staleness() < 60
    assert api.asked == ["watch "]


async def test_what_is_deleted_while_everything_is_told_is_gone() -> None:
    deleted = {"type": "DELETED", "object": product("one", 11)}
    api = ScriptedApi([added("one", 3), added("two", 4), deleted, end(11)])
    async with reflecting(api) as (reflector, held):
        await reflector.synced.wait()
        assert held() == [("two", "two")]


@pytest.mark.parametrize(
    "first",
    [
        InvalidManifest("sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"),
        [{"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "RequestWatchProgress is disabled"}}],
        [added("gone", 3)],
        [],
        [added("gone", 3), end(4) | {"object": {"metadata": {"resourceVersion": "4"}}}],
    ],
)
async def test_a_server_that_cannot_tell_everything_through_a_watch_is_asked_for_pages(first: list[Event] | Exception) -> None:
    pages = [page(10, product("one", 3)), page(10, product("two", 4))]
    api = ScriptedApi(first, [added("three", 11)], pages=pages)
    async with reflecting(api) as (_, held):
        await until(lambda: held() == [("one", "one"), ("three", "three"), ("two", "two")])
    assert api.asked == ["watch ", "list", "watch 10"]


async def test_a_server_that_is_out_of_reach_is_not_taken_for_one_without_the_ability() -> None:
    api = ScriptedApi(Unavailable("no route"), [end(10)], pages=[page(10)])
    async with reflecting(api) as (reflector, _):
        async with asyncio.timeout(10):
            await reflector.synced.wait()
    assert api.asked[0] == "watch "


@pytest.mark.parametrize("streamed", [True, False])
async def test_everything_told_anew_shows_what_changed_meanwhile(streamed: bool) -> None:
    again: list[Event] = [added("one", 3), added("two", 15, "another"), added("four", 16), end(20)]
    nonsense = {"type": "DANCED", "object": product("one", 11)}
    pages = [page(20, *(event["object"] for event in again[:3]))]
    first: list[Event] = [added("one", 3), added("two", 4), added("three", 5), end(10), nonsense]
    api = ScriptedApi(first, again if streamed else [], [], pages=pages)
    async with reflecting(api) as (_, held):
        await until(lambda: held() == [("four", "four"), ("one", "one"), ("two", "another")])
    assert ("list" in api.asked) is not streamed


@pytest.mark.parametrize("streamed", [True, False])
async def test_older_state_neither_brings_back_nor_takes_away(streamed: bool) -> None:
    """A stale replica knows `revoked` still, another `two`, and `three` not yet."""
    deleted = {"type": "DELETED", "object": product("revoked", 12)}
    first = [added("revoked", 3), added("two", 4), added("three", 9), end(10), deleted, added("two", 13, "another")]
    nonsense = {"type": "DANCED", "object": {}}
    stale = [added("revoked", 3), added("two", 4)]
    pages = [page(5, *(event["object"] for event in stale))]
    api = ScriptedApi([*first, nonsense], [*stale, end(5)] if streamed else [], [], pages=pages)
    async with reflecting(api) as (reflector, held):
        await until(lambda: api.asked.count("list") >= 2)
        assert held() == [("three", "three"), ("two", "another")]
        # A server that insists was restored from a backup: then its truth is the truth.
        await until(lambda: held() == [("revoked", "revoked"), ("two", "two")], seconds=60)
        assert reflector.last_error == ""
