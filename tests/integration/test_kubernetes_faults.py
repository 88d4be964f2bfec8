"""What an API server, and the way to it, can do to the watch cache: each fault happens for real (fault matrix 1 - 8)."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.resources import Install, Key, Kind
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.kubernetes.client.access import TokenFile
from tests.integration.test_kubernetes_state import clean_cluster
from tests.support.fault_proxy import FaultProxy, running_fault_proxy
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import SHOP, WORKSPACE, install_manifest, installed, secret_manifest, until

__all__ = ["clean_cluster", "control_plane"]
OTHER = Key(Kind.INSTALL, WORKSPACE, "other")


@pytest.fixture
async def proxy(clean_cluster: ControlPlane) -> AsyncIterator[FaultProxy]:
    async with running_fault_proxy(clean_cluster) as proxy:
        yield proxy


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    """(scope, event) as the watches report them."""
    return []


@pytest.fixture
async def store(proxy: FaultProxy, clean_cluster: ControlPlane, seen: list[tuple[str, str]]) -> AsyncIterator[KubernetesStore]:
    """The store under test: it knows the API server only through the proxy."""
    access = dataclasses.replace(clean_cluster.access(proxy.address), tls_server_name=None)
    store = KubernetesStore(access, observe=lambda scope, event: seen.append((scope, event)))
    await store.start()
    await store.create(install_manifest())
    await store.create(install_manifest("other"))
    await until(lambda: len(store.index.installs()) == 2 and proxy.watches("installs"))
    yield store
    proxy.frozen = False
    await store.stop()


@pytest.fixture
async def direct(clean_cluster: ControlPlane) -> AsyncIterator[KubernetesStore]:
    """Somebody whose way to the API server is sound. Writes only."""
    store = KubernetesStore(clean_cluster.access())
    yield store
    await store.stop()


def revoked(store: KubernetesStore) -> bool:
    shop = installed(store)
    return shop is not None and shop.revoked


async def test_the_api_server_goes_away_and_comes_back(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore
) -> None:
    await until(lambda: store.staleness() < 2)
    await proxy.stop()
    before = store.staleness()
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await direct.delete(OTHER)
    await until(lambda: store.staleness() > before + 2)
    assert installed(store) is not None  # the gates serve it until the staleness limit, and not after
    assert not revoked(store)
    await proxy.start()
    await until(lambda: revoked(store) and store.index.get(OTHER) is None, seconds=30)
    await until(lambda: store.staleness() < 2, seconds=30)


async def test_a_half_open_watch_is_noticed_by_its_heartbeat(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore, seen: list[tuple[str, str]]
) -> None:
    await until(lambda: store.staleness() < 2)
    seen.clear()
    proxy.plurals = frozenset({"installs"})
    proxy.frozen, began = True, time.monotonic()
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await until(lambda: ("installs", "cut") in seen)
    print(f"a half-open watch was noticed after {time.monotonic() - began:.2f} s")
    assert not revoked(store)
    assert ("products", "cut") not in seen
    proxy.frozen = False
    await until(lambda: revoked(store))


async def test_everything_frozen_is_noticed_too(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore, seen: list[tuple[str, str]]
) -> None:
    await until(lambda: store.staleness() < 2)
    seen.clear()
    proxy.frozen = True
    await until(lambda: {scope for scope, event in seen if event == "cut"} >= {"installs", "products", "namespaces"})
    before = store.staleness()
    await until(lambda: store.staleness() > before + 1)
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    proxy.frozen = False
    await until(lambda: revoked(store) and store.staleness() < 2, seconds=30)


async def test_secrets_are_proven_by_lists_whatever_their_watch_says(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore
) -> None:
    await store.create(secret_manifest("ghcr", password="one"))
    await until(lambda: store.index.secret(WORKSPACE, "ghcr") is not None)
    proxy.plurals = frozenset({"secrets"})
    proxy.empty_watches = True
    proxy.cut()
    await direct.delete(Key(Kind.SECRET, WORKSPACE, "ghcr"))
    await until(lambda: store.index.secret(WORKSPACE, "ghcr") is None)
    proxy.empty_watches = False
    await until(lambda: store.staleness() < 5)


@pytest.mark.parametrize("in_stream", [True, False])
async def test_a_watch_that_is_too_old_lists_again_and_applies_missed_deletes(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore, in_stream: bool
) -> None:
    proxy.plurals = frozenset({"installs"})
    lists = proxy.requests["list installs"]
    proxy.frozen = True  # what happens now is never told
    await direct.delete(OTHER)
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    if in_stream:
        gone = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}\n'
        await proxy.say(gone)
    else:
        proxy.watch_status = 410
        proxy.cut()
    proxy.frozen = False
    await until(lambda: store.index.get(OTHER) is None and revoked(store))
    assert proxy.requests["list installs"] > lists
    proxy.watch_status = 0
    await direct.patch(SHOP, {"spec": {"revoked": False}})
    await until(lambda: not revoked(store))


async def test_watches_that_end_at_once_are_asked_for_ever_more_rarely(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore
) -> None:
    proxy.plurals = frozenset({"installs"})
    proxy.empty_watches = True
    proxy.cut()
    before = proxy.requests["watch installs"]
    await asyncio.sleep(3)
    # 0.25 s, doubled each time and with jitter, leaves room for a handful; heartbeats that do not return add a few.
    assert proxy.requests["watch installs"] - before <= 12
    proxy.empty_watches = False
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await until(lambda: revoked(store), seconds=30)


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b'{"type":"MODIFIED"}\n',
        b'{"type":"DANCED","object":{"metadata":{"name":"shop","resourceVersion":"999999999"}}}\n',
        b'{"type":"MODIFIED","object":{"kind":"Install","metadata":{"name":"shop"}}}\n',
        b'{"type":"MODIFIED","object":{"kind":"Install","metadata":{"name":"shop","namespace":"acme","resourceVersion":"1"}}}\n',
        b'{"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError"}}\n',
        b'{"type":"ERROR","object":{}}\n',
        b"[]\n",
        b'{"type":"ADDED","object":' + b"x" * (9 * 1024 * 1024),
    ],
)
async def test_a_watch_that_says_nonsense_is_given_up_for_another_list(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore, line: bytes
) -> None:
    proxy.plurals = frozenset({"installs"})
    lists = proxy.requests["list installs"]
    await proxy.say(line)
    await until(lambda: proxy.requests["list installs"] > lists)
    assert len(store.index.installs()) == 2
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await until(lambda: revoked(store))


async def test_an_event_cut_in_the_middle_is_not_taken_for_whole(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore
) -> None:
    proxy.plurals = frozenset({"installs"})
    await proxy.say(b'{"type":"DELETED","object":{"kind":"Install","metadata":{"name":"shop","names')
    proxy.cut()
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await until(lambda: revoked(store))


async def test_an_object_that_cannot_be_used_keeps_its_last_good_version(proxy: FaultProxy, store: KubernetesStore) -> None:
    proxy.plurals = frozenset({"installs"})
    line = (
        b'{"type":"MODIFIED","object":{"kind":"Install","apiVersion":"registry.akua.dev/v1alpha1","metadata":{"name":"shop",'
        b'"namespace":"acme","uid":"u","resourceVersion":"99999999"},"spec":{"repositories":["no registry"]}}}\n'
    )
    await proxy.say(line)
    await until(lambda: bool(store.problems()))
    assert "Install acme/shop: spec.repositories[0]" in str(store.problems()[0])
    assert installed(store) is not None


async def test_a_stale_replica_cannot_take_the_index_back(
    proxy: FaultProxy, store: KubernetesStore, direct: KubernetesStore, clean_cluster: ControlPlane
) -> None:
    old = clean_cluster.kubectl("get", "--raw", "/apis/registry.akua.dev/v1alpha1/installs").encode()
    await direct.patch(SHOP, {"spec": {"revoked": True}})
    await until(lambda: revoked(store))
    proxy.plurals = frozenset({"installs"})
    proxy.lists["installs"] = old
    lists = proxy.requests["list installs"]
    await proxy.say(b"nonsense\n")
    await until(lambda: proxy.requests["list installs"] >= lists + 2)
    assert revoked(store)
    del proxy.lists["installs"]
    await direct.patch(SHOP, {"spec": {"revoked": False}})
    await until(lambda: not revoked(store), seconds=30)


async def test_nothing_is_ready_before_everything_was_read(proxy: FaultProxy, clean_cluster: ControlPlane) -> None:
    proxy.plurals, proxy.frozen = frozenset({"products"}), True
    access = dataclasses.replace(clean_cluster.access(proxy.address), tls_server_name=None)
    store = KubernetesStore(access)
    starting = asyncio.create_task(store.start())
    await until(lambda: proxy.watches("installs"))
    assert (store.synced, store.staleness()) == (False, float("inf"))
    proxy.frozen = False
    await starting
    assert (store.synced, store.staleness() < 60) == (True, True)
    await store.stop()


async def test_a_token_that_is_rotated_on_disk_is_picked_up(
    proxy: FaultProxy, clean_cluster: ControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    proxy.required_token = "first"
    access = dataclasses.replace(clean_cluster.access(proxy.address), tls_server_name=None, token=TokenFile(path))
    store = KubernetesStore(access, kinds={Kind.INSTALL}, heartbeat_seconds=0.2)
    await store.start()
    path.write_text("second")
    proxy.required_token = "second"
    proxy.cut()
    created = await store.create(install_manifest())
    assert isinstance(created, Install)
    await until(lambda: installed(store) is not None)
    await until(lambda: store.staleness() < 1, seconds=30)
    await store.stop()
