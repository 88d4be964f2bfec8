"""What every state store must do, whatever it keeps its objects in. An adapter's test module subclasses this."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from registry_access.model.errors import AlreadyExists, Conflict, InvalidManifest, NotFound
from registry_access.model.resources import Install, Key, Kind, RegistryCredential, Secret
from registry_access.state.index import Change, ChangeType
from registry_access.state.interface import StateStore
from tests.support import builders
from tests.support.builders import manifest

WORKSPACE = "acme"
SHOP = Key(Kind.INSTALL, WORKSPACE, "shop")
StartStore = Callable[[], Awaitable[StateStore]]


def install_manifest(name: str = "shop", **spec: Any) -> dict[str, Any]:
    return manifest("Install", name, builders.whole("Install", **spec))


def secret_manifest(name: str, **values: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": WORKSPACE, "labels": {"registry.akua.dev/secret": name}}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Waits for something that the watch must bring."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come through the watch"
        await asyncio.sleep(0.005)


def installed(store: StateStore, name: str = "shop") -> Install | None:
    return store.index.install(WORKSPACE, name)


class StateConformance:
    """Subclasses give `start_store`: each call starts one more, independent store on the same state, stopped after the test."""

    @pytest.fixture
    async def store(self, start_store: StartStore) -> StateStore:
        return await start_store()

    async def test_what_is_created_is_read_and_indexed(self, store: StateStore) -> None:
        created = await store.create(install_manifest())
        assert isinstance(created, Install)
        assert created.metadata.uid
        assert created.metadata.resource_version
        assert created.metadata.creation_time
        assert created.metadata.generation == 1
        assert await store.read(SHOP) == created
        await until(lambda: installed(store) == created)

    async def test_creating_twice_is_refused(self, store: StateStore) -> None:
        await store.create(install_manifest())
        with pytest.raises(AlreadyExists, match="shop"):
            await store.create(install_manifest())

    async def test_what_is_not_there_is_not_found(self, store: StateStore) -> None:
        for attempt in (store.read(SHOP), store.patch(SHOP, {}), store.patch_status(SHOP, {}), store.delete(SHOP)):
            with pytest.raises(NotFound):
                await attempt

    async def test_an_unusable_manifest_is_refused_and_nothing_is_lost(self, store: StateStore) -> None:
        with pytest.raises(InvalidManifest, match="repositories"):
            await store.create(install_manifest(repositories=["no registry"]))
        await store.create(install_manifest())
        with pytest.raises(InvalidManifest, match="revoked"):
            await store.patch(SHOP, {"spec": {"revoked": "yes"}})
        with pytest.raises(InvalidManifest, match="namespaceSelector"):
            await store.patch(SHOP, {"spec": {"targets": [{"namespace": "a", "namespaceSelector": {}}]}})
        shop = await store.read(SHOP)
        assert isinstance(shop, Install)
        assert (shop.revoked, shop.targets) == (False, ())

    async def test_superseded_tokens_and_a_credentials_registry_stay_what_they_are(self, store: StateStore) -> None:
        await store.create(install_manifest(tokenGeneration=2))
        with pytest.raises(InvalidManifest, match="tokenGeneration"):
            await store.patch(SHOP, {"spec": {"tokenGeneration": 1}})
        await store.create(manifest("RegistryCredential", "ghcr", {"registry": "ghcr.io", "type": "Basic", "secretName": "s"}))
        with pytest.raises(InvalidManifest, match="registry"):
            await store.patch(Key(Kind.REGISTRY_CREDENTIAL, WORKSPACE, "ghcr"), {"spec": {"registry": "evil.example"}})

    async def test_a_patch_bumps_the_generation_and_a_status_does_not(self, store: StateStore) -> None:
        first = await store.create(install_manifest())
        patched = await store.patch(SHOP, {"spec": {"revoked": True}})
        assert isinstance(patched, Install)
        assert patched.revoked
        assert patched.metadata.generation == first.metadata.generation + 1
        reported = await store.patch_status(SHOP, {"deniedPulls": 3})
        assert isinstance(reported, Install)
        assert reported.status.denied_pulls == 3
        assert reported.metadata.generation == patched.metadata.generation
        assert len({item.metadata.resource_version for item in (first, patched, reported)}) == 3

    async def test_a_merge_patch_removes_what_it_sets_to_nothing(self, store: StateStore) -> None:
        await store.create(install_manifest(product="storefront"))
        patched = await store.patch(SHOP, {"spec": {"product": None}, "metadata": {"annotations": {"note": "yes"}}})
        assert isinstance(patched, Install)
        assert (patched.product, patched.metadata.annotations["note"]) == (None, "yes")
        patched = await store.patch(SHOP, {"metadata": {"annotations": {"note": None}}})
        assert "note" not in patched.metadata.annotations

    async def test_a_spec_write_leaves_the_status_and_a_status_write_the_spec(self, store: StateStore) -> None:
        await store.create(install_manifest())
        await store.patch_status(SHOP, {"tokenID": "tok_1"})
        patched = await store.patch(SHOP, {"spec": {"tokenGeneration": 2}, "status": {"tokenID": "forged"}})
        assert isinstance(patched, Install)
        assert (patched.status.token_id, patched.token_generation) == ("tok_1", 2)
        applied = await store.apply(install_manifest(tokenGeneration=3), manager="test")
        assert isinstance(applied, Install)
        assert (applied.status.token_id, applied.token_generation) == ("tok_1", 3)

    async def test_a_stale_resource_version_conflicts(self, store: StateStore) -> None:
        first = await store.create(install_manifest())
        await store.patch(SHOP, {"spec": {"tokenGeneration": 2}}, resource_version=first.metadata.resource_version)
        with pytest.raises(Conflict):
            await store.patch(SHOP, {"spec": {"tokenGeneration": 3}}, resource_version=first.metadata.resource_version)
        assert (await store.read(SHOP)).metadata.generation == 2
        with pytest.raises(Conflict):
            await store.patch_status(SHOP, {"deniedPulls": 1}, resource_version=first.metadata.resource_version)
        now = await store.read(SHOP)
        reported = await store.patch_status(SHOP, {"deniedPulls": 1}, resource_version=now.metadata.resource_version)
        assert isinstance(reported, Install)
        assert reported.status.denied_pulls == 1

    async def test_applying_twice_changes_nothing(self, store: StateStore) -> None:
        manifest = install_manifest()
        manifest["metadata"]["labels"] = {"ours": "1"}
        first = await store.apply(manifest, manager="test")
        again = await store.apply(manifest, manager="test")
        assert again.metadata.resource_version == first.metadata.resource_version
        changed = await store.apply(install_manifest(repositories=["ghcr.io/acme/other"]), manager="test")
        assert isinstance(changed, Install)
        assert [str(pattern) for pattern in changed.repositories] == ["ghcr.io/acme/other"]
        assert dict(changed.metadata.labels) == {}

    async def test_applying_leaves_what_others_set(self, store: StateStore) -> None:
        await store.apply(install_manifest(), manager="test")
        await store.patch(SHOP, {"metadata": {"labels": {"theirs": "1"}}, "spec": {"revoked": True}})
        manifest = install_manifest(product="storefront")
        manifest["metadata"]["labels"] = {"ours": "1"}
        applied = await store.apply(manifest, manager="test")
        assert isinstance(applied, Install)
        assert dict(applied.metadata.labels) == {"theirs": "1", "ours": "1"}
        assert (applied.revoked, applied.product) == (True, "storefront")

    async def test_an_object_made_anew_is_another_object(self, store: StateStore) -> None:
        first = await store.create(install_manifest())
        await store.delete(SHOP, uid=first.metadata.uid)
        with pytest.raises(NotFound):
            await store.read(SHOP)
        second = await store.create(install_manifest())
        assert second.metadata.uid != first.metadata.uid
        with pytest.raises(Conflict):
            await store.delete(SHOP, uid=first.metadata.uid)
        await until(lambda: installed(store) == second)

    async def test_changes_come_in_order_to_every_subscriber_even_beside_a_failing_one(self, store: StateStore) -> None:
        seen: list[tuple[ChangeType, bool]] = []
        consistent: list[bool] = []

        def fail(change: Change) -> None:
            raise RuntimeError("a bug of one subscriber")

        def note(change: Change) -> None:
            seen.append((change.type, isinstance(change.after, Install) and change.after.revoked))
            consistent.append(store.index.get(change.key) is change.after)

        store.index.subscribe(fail)
        unsubscribe = store.index.subscribe(note, {Kind.INSTALL})
        store.index.subscribe(lambda change: pytest.fail("another kind"), {Kind.PRODUCT})
        await store.create(install_manifest())
        await until(lambda: len(seen) == 1)
        await store.patch(SHOP, {"spec": {"revoked": True}})
        await until(lambda: len(seen) == 2)
        await store.delete(SHOP)
        await until(lambda: len(seen) == 3)
        assert seen == [(ChangeType.ADDED, False), (ChangeType.UPDATED, True), (ChangeType.DELETED, False)]
        assert all(consistent)
        unsubscribe()
        await store.create(install_manifest())
        await until(lambda: installed(store) is not None)
        assert len(seen) == 3

    async def test_another_process_sees_every_change(self, store: StateStore, start_store: StartStore) -> None:
        other = await start_store()
        created = await store.create(install_manifest())
        await until(lambda: installed(other) == created)
        await other.patch(SHOP, {"spec": {"revoked": True}})
        await until(lambda: (shop := installed(store)) is not None and shop.revoked)
        await other.patch_status(SHOP, {"deniedPulls": 7})
        await until(lambda: (shop := installed(store)) is not None and shop.status.denied_pulls == 7)
        await store.delete(SHOP)
        await until(lambda: installed(other) is None)

    async def test_writers_at_the_same_time_lose_nothing(self, store: StateStore, start_store: StartStore) -> None:
        other = await start_store()
        await store.create(install_manifest())
        stores = (store, other)
        writes = [stores[n % 2].patch(SHOP, {"metadata": {"annotations": {f"writer-{n}": str(n)}}}) for n in range(12)]
        creations = [stores[n % 2].create(install_manifest(f"shop-{n}")) for n in range(6)]
        await asyncio.gather(*writes, *creations)
        shop = await store.read(SHOP)
        assert {name for name in shop.metadata.annotations if name.startswith("writer-")} == {f"writer-{n}" for n in range(12)}
        for each in stores:
            await until(lambda each=each: len(each.index.installs()) == 7)  # type: ignore[misc]

    async def test_a_store_started_later_sees_what_is_there_and_not_what_was(
        self, store: StateStore, start_store: StartStore
    ) -> None:
        await store.create(install_manifest())
        await store.create(install_manifest("second"))
        before = await start_store()
        assert installed(before) is not None
        await store.patch_status(SHOP, {"deniedPulls": 2})
        await store.delete(Key(Kind.INSTALL, WORKSPACE, "second"))
        later = await start_store()
        assert later.synced
        assert installed(later) == await store.read(SHOP)
        assert installed(later, "second") is None

    async def test_freshness_is_proven_through_the_watch(self, store: StateStore) -> None:
        assert store.synced
        await until(lambda: store.staleness() < 5)
        clock = asyncio.get_running_loop().time
        first = clock() - store.staleness()  # the moment as of which everything was proven
        await until(lambda: clock() - store.staleness() > first + 0.01)

    async def test_what_is_indexed_by_more_than_its_name_follows_every_change(self, store: StateStore) -> None:
        await store.create(manifest("RegistryCredential", "ghcr", {"registry": "GHCR.io", "type": "Basic", "secretName": "ghcr"}))
        await until(lambda: [item.metadata.name for item in store.index.credentials(WORKSPACE, "ghcr.io")] == ["ghcr"])
        key = Key(Kind.REGISTRY_CREDENTIAL, WORKSPACE, "ghcr")
        await store.patch(key, {"spec": {"disabled": True}})
        await until(lambda: store.index.credentials(WORKSPACE, "ghcr.io")[0].disabled)
        assert isinstance(store.index.get(key), RegistryCredential)
        grant = {"host": "oci.akua.dev", "images": ["ghcr.io/acme/app"], "pullSecret": "akua-pull-shop"}
        await store.create(manifest("PullGrant", "shop", grant))
        await until(lambda: len(store.index.grants(WORKSPACE)) == 1)
        await store.delete(key)
        await store.delete(Key(Kind.PULL_GRANT, WORKSPACE, "shop"))
        await until(lambda: not store.index.credentials(WORKSPACE, "ghcr.io") and not store.index.grants(WORKSPACE))

    async def test_a_workspace_is_a_labelled_namespace(self, store: StateStore) -> None:
        key = Key(Kind.NAMESPACE, "", "shop-team")
        metadata = {"name": "shop-team", "labels": {"registry.akua.dev/workspace": "true"}}
        await store.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, manager="test")
        await until(lambda: "shop-team" in store.index.workspaces())
        await store.patch(key, {"metadata": {"labels": {"registry.akua.dev/workspace": None}}})
        await until(lambda: "shop-team" not in store.index.workspaces())

    async def test_secrets_keep_their_bytes_and_hide_them(self, store: StateStore) -> None:
        secret = await store.create(secret_manifest("ghcr", password="canary-7f3a"))
        assert isinstance(secret, Secret)
        assert "canary" not in repr(secret)
        assert secret.data["password"] == b"canary-7f3a"
        await until(lambda: store.index.secret(WORKSPACE, "ghcr") == secret)

    async def test_an_immutable_secret_stays_as_it_is(self, store: StateStore) -> None:
        await store.create(secret_manifest("ghcr-v1", password="a") | {"immutable": True})
        key = Key(Kind.SECRET, WORKSPACE, "ghcr-v1")
        with pytest.raises(InvalidManifest, match="immutable"):
            await store.patch(key, {"data": {"password": base64.b64encode(b"other").decode()}})
        patched = await store.patch(key, {"metadata": {"annotations": {"registry.akua.dev/version-state": "disabled"}}})
        assert patched.metadata.annotations["registry.akua.dev/version-state"] == "disabled"
