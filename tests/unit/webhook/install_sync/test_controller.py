"""Installs are worked on side by side, each by one at a time, and again after a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Key, Kind
from tests.support.install_sync import (
    Synced,
    manifest,
    running_sync,
    shop,
)
from tests.support.state_conformance import until
from webhook.install_sync.reconciliation import Outcome


async def test_a_bug_in_one_install_does_not_stop_the_others(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    reconcile = synced.reconciler.reconcile

    async def failing(workspace: str, name: str) -> Outcome:
        if name == "broken":
            raise RuntimeError("a bug")
        return await reconcile(workspace, name)

    monkeypatch.setattr(synced.reconciler, "reconcile", failing)
    await synced.store.create(manifest("Install", "broken", {"repositories": ["ghcr.io/a"]}))
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)


async def test_a_store_that_fails_is_tried_again(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    apply, failures = synced.store.apply, 2

    async def failing(made: Any, *, manager: str) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StateUnavailable("the API server cannot be reached")
        return await apply(made, manager=manager)

    monkeypatch.setattr(synced.store, "apply", failing)
    monkeypatch.setattr("webhook.install_sync.controller._BACKOFF_FIRST", 0.05)
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    assert failures == 0


async def test_two_syncs_at_once_settle_on_one_token(synced: Synced) -> None:
    """A leader that was frozen and wakes up beside the new one must not fight it for ever."""
    async with running_sync(synced.store) as other:
        await synced.store.create(shop())
        await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
        for world in (synced, other, synced, other):
            await world.sync.sync()
        settled = synced.secret()
        assert settled is not None
        for world in (synced, other, synced, other):
            await world.sync.sync()
        assert synced.secret() is settled


async def test_many_installs_are_worked_on_side_by_side(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0

    async def slow(workspace: str, name: str) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return Outcome()

    monkeypatch.setattr(synced.reconciler, "reconcile", slow)
    await synced.sync.sync([("acme", f"install-{number}") for number in range(40)])
    assert 1 < most <= 8


async def test_looking_again_is_spread_and_what_is_gone_is_not_looked_at_again(
    synced: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.install_sync.controller._RESYNC_SECONDS", 0.2)
    looks: dict[str, list[float]] = {}
    reconcile = synced.reconciler.reconcile

    async def counted(workspace: str, name: str) -> Outcome:
        looks.setdefault(name, []).append(asyncio.get_running_loop().time())
        return await reconcile(workspace, name)

    monkeypatch.setattr(synced.reconciler, "reconcile", counted)
    names = [f"install-{number}" for number in range(12)]
    for name in names:
        await synced.store.create(manifest("Install", name, {"repositories": ["ghcr.io/a"]}))
    await synced.sync.sync()
    looks.clear()
    await until(lambda: all(len(looks.get(name, ())) >= 3 for name in names))
    thirds = [looks[name][2] for name in names]
    assert max(thirds) - min(thirds) > 0.02, "one burst"
    for name in names:
        await synced.store.delete(Key(Kind.INSTALL, "acme", name))
    await synced.sync.sync([("acme", name) for name in names])
    looks.clear()
    await asyncio.sleep(0.5)
    assert not looks


async def test_an_install_is_never_worked_on_twice_at_once(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, looks = 0, 0

    async def slow(workspace: str, name: str) -> Outcome:
        nonlocal under_way, looks
        under_way += 1
        assert under_way == 1
        looks += 1
        await asyncio.sleep(0.05)
        under_way -= 1
        return Outcome()

    monkeypatch.setattr(synced.reconciler, "reconcile", slow)
    waiting = asyncio.create_task(synced.sync.sync([("acme", "shop")]))
    await asyncio.sleep(0.02)
    await asyncio.gather(*(synced.sync.sync([("acme", "shop")]) for _ in range(5)))
    await waiting
    assert looks == 2, "once, and once more for all that came meanwhile"
