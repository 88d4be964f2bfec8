"""Asking for a sync: by an annotation of the install or of its workspace, answered in the status, once."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Install, Key, Kind
from registry_access.model.resources.metadata import SYNC_REQUESTED_ANNOTATION
from registry_access.state.index import Change
from tests.support.install_sync import SHOP, Synced, manifest, running_sync, shop, space
from tests.support.state_conformance import until
from webhook.install_sync.sync_request import SyncRequest, sync_request

ACME = Key(Kind.NAMESPACE, "", "acme")


@pytest.fixture
async def written(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to targets, from when an install is in order on."""
    await synced.store.create(space("acme", **{"registry.akua.dev/workspace": "true"}))
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.sync.sync()
    seen: list[str] = []
    apply = synced.store.apply

    async def noted(made: Any, *, manager: str) -> Any:
        seen.append(f"{made['kind']} {made['metadata']['name']}")
        return await apply(made, manager=manager)

    monkeypatch.setattr(synced.store, "apply", noted)
    return seen


async def ask(synced: Synced, key: Key, value: str | None) -> None:
    await synced.store.patch(key, {"metadata": {"annotations": {SYNC_REQUESTED_ANNOTATION: value}}})


async def test_a_request_rewrites_what_looks_right_and_is_answered_once(synced: Synced, written: list[str]) -> None:
    await ask(synced, SHOP, "now")
    await until(lambda: synced.install().status.observed_sync_request == "now")
    assert written == ["Secret akua-pull-shop", "PullGrant shop"]
    assert synced.install().status.last_sync_time is not None
    await synced.sync.sync()
    assert len(written) == 2
    await ask(synced, SHOP, None)
    await synced.sync.sync()
    assert len(written) == 2, "taking it away asks for nothing"
    await ask(synced, SHOP, "and again")
    await until(lambda: synced.install().status.observed_sync_request == "and again")
    assert len(written) == 4


async def test_a_request_on_the_workspace_is_for_all_its_installs(synced: Synced, written: list[str]) -> None:
    await synced.store.create(manifest("Install", "blog", {"repositories": ["ghcr.io/b"], "targets": [{"namespace": "blog"}]}))
    elsewhere = manifest("Install", "other", {"repositories": ["ghcr.io/b"], "targets": [{"namespace": "else"}]}, "elsewhere")
    await synced.store.create(elsewhere)
    await synced.sync.sync()
    written.clear()
    await ask(synced, ACME, "all")
    for name in ("shop", "blog"):
        await until(lambda name=name: synced.install(name).status.observed_workspace_sync_request == "all")  # type: ignore[misc]
    await synced.sync.sync()
    assert sorted(written) == ["PullGrant blog", "PullGrant shop", "Secret akua-pull-blog", "Secret akua-pull-shop"]
    assert synced.install().status.observed_sync_request == ""


async def test_what_was_asked_while_nobody_led_is_answered_by_the_next_leader(synced: Synced, written: list[str]) -> None:
    await ask(synced, SHOP, "first")
    await until(lambda: synced.install().status.observed_sync_request == "first")
    await synced.store.patch_status(SHOP, {"observedSyncRequest": None})
    written.clear()
    async with running_sync(synced.store) as next_leader:
        await until(lambda: next_leader.install().status.observed_sync_request == "first")
    assert len(written) == 2


async def test_a_cluster_that_does_not_answer_is_the_answer(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    async def down(at_once: bool = False) -> None:
        asked.append(at_once)
        raise StateUnavailable("no route to host")

    monkeypatch.setattr(synced.clusters.local, "refresh", down)
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "ClusterUnreachable"))
    asked.clear()
    await ask(synced, SHOP, "now")
    await until(lambda: synced.install().status.observed_sync_request == "now")
    assert asked[0] is True, "the back-off does not hold up a person"


async def test_a_long_request_is_answered_by_its_hash() -> None:
    status, asked = Install.from_manifest(shop()).status, shop()
    asked["metadata"]["annotations"] = {SYNC_REQUESTED_ANNOTATION: "x" * 1000}
    found = sync_request(Install.from_manifest(asked), None)
    assert found.install.startswith("sha256:")
    assert len(found.install) < 100
    assert found.is_open(status)
    assert not SyncRequest().is_open(status)


async def test_how_far_a_large_install_is_can_be_watched(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.install_sync.reports.sync_progress._TOLD_SECONDS", 0.0)
    told: list[str] = []

    def noted(change: Change) -> None:
        if isinstance(change.after, Install):
            told.extend(item.message for item in change.after.status.conditions if item.type == "Syncing")

    synced.store.index.subscribe(noted, {Kind.INSTALL})
    await synced.store.create(shop(targets=[{"namespace": f"eu-{number}"} for number in range(5)]))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.sync.sync()  # looks at the changes that it made itself, which tells again here
    assert list(dict.fromkeys(told)) == [f"{number} of 5 namespaces" for number in range(1, 5)]
    await until(lambda: synced.condition("Syncing") == ("", ""))
