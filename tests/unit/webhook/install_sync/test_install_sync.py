"""The install sync on a real directory store: what it provisions, repairs, renews and removes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry_access.model.errors import InvalidInput, StateUnavailable
from registry_access.model.install_token import InstallTokenClaims, verify_install_token
from registry_access.model.resources import Install, Key, Kind, PullGrant, Resource, Secret
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import Manifest
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, SigningKeys, ensure_keys
from tests.support.state_conformance import until
from webhook.install_sync.cluster import TargetCluster
from webhook.install_sync.controller import InstallSync
from webhook.install_sync.minting import Minting, token_in
from webhook.install_sync.ownership import CONTROL_PLANE_ANNOTATION
from webhook.install_sync.provisioning import Provisioner
from webhook.install_sync.reconciliation import Outcome, Reconciler
from webhook.install_sync.remote_clusters import KnownClusters

API = "registry.akua.dev/v1alpha1"
HOST = "oci.akua.dev"
CONTROL_PLANE = "control-plane-1"
SHOP = Key(Kind.INSTALL, "acme", "shop")


class RemoteFolder:
    """A folder that stands for a remote cluster."""

    def __init__(self, folder: Path) -> None:
        self.store = DirectoryStore(folder, heartbeat_seconds=0.2)
        self.down = False
        self.refreshes = 0

    @property
    def index(self) -> ResourceIndex:
        return self.store.index

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.down:
            raise StateUnavailable("no route to host")

    async def read(self, key: Key) -> Resource:
        return await self.store.read(key)

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        return await self.store.apply(manifest, manager=manager)

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        await self.store.delete(key, uid=uid)

    async def close(self) -> None: ...


class Remotes:
    """The remote clusters of a test, by the text of their kubeconfig."""

    def __init__(self) -> None:
        self.by_config: dict[bytes, RemoteFolder] = {}

    def connect(self, config: bytes) -> RemoteFolder:
        if config not in self.by_config:
            raise InvalidInput("'exec' is refused", field="user", remedy="it would run a command here")
        return self.by_config[config]


@dataclass
class Synced:
    store: DirectoryStore
    sync: InstallSync
    reconciler: Reconciler
    keys: SigningKeys
    remotes: Remotes
    offset: float = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def secret(self, namespace: str = "prod", install: str = "shop") -> Secret | None:
        return self.store.index.secret(namespace, f"akua-pull-{install}")

    def grant(self, namespace: str = "prod", install: str = "shop") -> PullGrant | None:
        return next((grant for grant in self.store.index.grants(namespace) if grant.metadata.name == install), None)

    def claims(self) -> InstallTokenClaims:
        secret = self.secret()
        assert secret is not None
        return verify_install_token(token_in(secret, HOST), self.keys.verification(), audience=HOST, now=self.now())

    def install(self, name: str = "shop") -> Install:
        install = self.store.index.install("acme", name)
        assert install is not None
        return install

    def condition(self, kind: str, name: str = "shop") -> tuple[str, str]:
        return next(((c.status, c.reason) for c in self.install(name).status.conditions if c.type == kind), ("", ""))


def manifest(kind: str, name: str, spec: dict[str, Any], namespace: str = "acme") -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def shop(**spec: Any) -> dict[str, Any]:
    return manifest("Install", "shop", {"repositories": ["ghcr.io/acme/app"], "targets": [{"namespace": "prod"}], **spec})


def space(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.fixture
async def synced(tmp_path: Path) -> AsyncIterator[Synced]:
    store = DirectoryStore(tmp_path, heartbeat_seconds=0.2)
    await store.start()
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    telemetry = Telemetry()
    world: Synced

    def clock() -> float:
        return world.now()

    local = TargetCluster(store)
    remotes = Remotes()
    clusters = KnownClusters(store.index, local, remotes.connect)
    reconciler = Reconciler(
        store, clusters, Provisioner(HOST, CONTROL_PLANE), lambda: keys, Minting(HOST, 3000), telemetry, clock
    )
    world = Synced(store, InstallSync(store, reconciler, local, telemetry), reconciler, keys, remotes)
    task = asyncio.create_task(world.sync.run())
    yield world
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.stop()


async def test_an_install_gets_its_secret_and_its_grant(synced: Synced) -> None:
    created = await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    grant, claims = synced.grant(), synced.claims()
    assert grant is not None
    assert (grant.host, grant.pull_secret, [str(image) for image in grant.images]) == (
        HOST,
        "akua-pull-shop",
        ["ghcr.io/acme/app"],
    )
    assert (claims.workspace, claims.install, claims.install_uid, claims.generation) == ("acme", "shop", created.metadata.uid, 1)
    assert synced.install().status.token_id == claims.token_id
    assert synced.condition("Ready") == ("True", "Entitled")
    assert [(target.namespace, target.synced) for target in synced.install().status.targets] == [("prod", True)]


async def test_the_secret_is_there_before_the_grant(synced: Synced) -> None:
    seen: list[Kind] = []
    synced.store.index.subscribe(lambda change: seen.append(change.key.kind), {Kind.PULL_GRANT, Kind.SECRET})
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    assert seen[:2] == [Kind.SECRET, Kind.PULL_GRANT]


async def test_a_product_gives_its_repositories_and_its_changes(synced: Synced) -> None:
    await synced.store.create(shop(product="storefront", repositories=None))
    await until(lambda: synced.condition("Ready") == ("False", "ProductMissing"))
    await synced.store.create(manifest("Product", "storefront", {"repositories": ["ghcr.io/acme/a"]}))
    await until(lambda: (grant := synced.grant()) is not None and len(grant.images) == 1)
    await until(lambda: synced.condition("Ready") == ("True", "Entitled"))
    await synced.store.patch(
        Key(Kind.PRODUCT, "acme", "storefront"), {"spec": {"repositories": ["ghcr.io/acme/a", "ghcr.io/acme/b"]}}
    )
    await until(lambda: (grant := synced.grant()) is not None and len(grant.images) == 2)


async def test_a_new_generation_mints_a_new_token(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims()
    await synced.store.patch(SHOP, {"spec": {"tokenGeneration": 2}})
    await until(lambda: synced.claims().generation == 2)
    assert synced.claims().token_id != before.token_id


async def test_a_token_is_kept_until_two_thirds_of_its_life_are_over(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims()
    synced.offset = 1990
    await synced.sync.sync()
    assert synced.claims().token_id == before.token_id
    synced.offset = 2010
    await synced.sync.sync()
    assert synced.claims().token_id != before.token_id
    # The old one is still good: what was handed out keeps working while the new one spreads.
    assert before.expires_at > synced.now()


async def test_what_people_change_by_hand_is_repaired(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    token = synced.claims().token_id
    await synced.store.patch(Key(Kind.PULL_GRANT, "prod", "shop"), {"spec": {"images": ["ghcr.io/*"]}})
    await until(lambda: (grant := synced.grant()) is not None and [str(i) for i in grant.images] == ["ghcr.io/acme/app"])
    await synced.store.delete(Key(Kind.SECRET, "prod", "akua-pull-shop"))
    await until(lambda: synced.secret() is not None)
    assert synced.claims().token_id == token
    await synced.store.delete(Key(Kind.PULL_GRANT, "prod", "shop"))
    await until(lambda: synced.grant() is not None)


async def test_nothing_is_left_of_an_install_that_is_gone_or_moved(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    await synced.store.patch(SHOP, {"spec": {"targets": [{"namespace": "staging"}]}})
    await until(lambda: synced.grant("staging") is not None and synced.grant() is None and synced.secret() is None)
    await synced.store.delete(SHOP)
    await until(lambda: synced.grant("staging") is None and synced.secret("staging") is None)


async def test_what_was_left_while_nobody_looked_is_removed_on_start(synced: Synced) -> None:
    labels = {
        "app.kubernetes.io/managed-by": "akua-install-sync",
        "registry.akua.dev/install": "ghost",
        "registry.akua.dev/install-workspace": "acme",
    }
    left = manifest("PullGrant", "ghost", {"host": HOST, "images": ["ghcr.io/a"], "pullSecret": "akua-pull-ghost"}, "prod")
    theirs = manifest("PullGrant", "ghost", left["spec"], "staging")
    for item, control_plane in ((left, CONTROL_PLANE), (theirs, "control-plane-2")):
        item["metadata"] |= {"labels": labels, "annotations": {CONTROL_PLANE_ANNOTATION: control_plane}}
        await synced.store.create(item)
    await synced.sync.sync()
    await until(lambda: synced.grant(install="ghost") is None)
    assert synced.grant("staging", "ghost") is not None, "another control plane wrote it: a bundle, or from afar"


async def test_namespaces_are_chosen_by_label_and_picked_up_by_themselves(synced: Synced) -> None:
    selector = {"matchLabels": {"shop": "yes"}}
    await synced.store.create(shop(targets=[{"namespaceSelector": selector, "podSelector": {"matchLabels": {"app": "web"}}}]))
    await until(lambda: synced.condition("Synced") == ("True", "NoTargets"))
    await synced.store.create(space("eu", shop="yes"))
    await synced.store.create(space("us", shop="no"))
    await until(lambda: synced.grant("eu") is not None)
    grant = synced.grant("eu")
    assert grant is not None
    assert grant.pod_selector.matches({"app": "web"})
    assert synced.grant("us") is None
    await synced.store.patch(Key(Kind.NAMESPACE, "", "eu"), {"metadata": {"labels": {"shop": None}}})
    await until(lambda: synced.grant("eu") is None)


async def test_objects_of_others_are_never_touched(synced: Synced) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "akua-pull-shop", "namespace": "prod"},
        "stringData": {"a": "b"},
    }
    await synced.store.create(theirs)
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    secret = synced.secret()
    assert secret is not None
    assert secret.data == {"a": b"b"}
    assert synced.grant() is None
    assert "not this install's" in synced.install().status.targets[0].message


async def test_overlapping_installs_are_told(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    other = manifest("Install", "blog", {"repositories": ["ghcr.io/acme/blog"], "targets": [{"namespace": "prod"}]})
    await synced.store.create(other)
    await until(lambda: synced.condition("Synced", "blog") == ("True", "Overlap"))
    message = next(c.message for c in synced.install("blog").status.conditions if c.type == "Synced")
    assert "install shop may select the same pods" in message


@pytest.mark.parametrize(("spec", "reason"), [({"revoked": True}, "Revoked"), ({"expiresAt": "2020-01-01T00:00:00Z"}, "Expired")])
async def test_a_revoked_install_says_so_and_keeps_its_grant(synced: Synced, spec: dict[str, Any], reason: str) -> None:
    await synced.store.create(shop(**spec))
    await until(lambda: synced.condition("Ready") == ("False", reason))
    assert synced.grant() is not None


async def test_a_second_look_writes_nothing(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    versions = [item.metadata.resource_version for item in (synced.grant(), synced.secret(), synced.install()) if item]
    await synced.sync.sync()
    assert [item.metadata.resource_version for item in (synced.grant(), synced.secret(), synced.install()) if item] == versions


async def test_a_bundle_holds_the_very_objects(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    secret, grant = synced.reconciler.bundle(synced.install())
    present = synced.secret()
    assert present is not None
    assert (secret["kind"], grant["kind"]) == ("Secret", "PullGrant")
    assert Secret.from_manifest(secret).data == present.data


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
