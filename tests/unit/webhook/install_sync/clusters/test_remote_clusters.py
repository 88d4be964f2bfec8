"""Installs that go to remote clusters: there and nowhere else, cleared when they leave, and a dead cluster holds nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.install import MAXIMUM_CLUSTERS
from tests.support.install_sync import HOST, SHOP, RemoteFolder, Synced, manifest, shop, space
from tests.support.state_conformance import until
from webhook.install_sync.clusters import remote_clusters
from webhook.install_sync.objects.provisioner import Provisioner
from webhook.install_sync.objects.removal import Removal

SECRET = Key(Kind.SECRET, "acme", "far")


@pytest.fixture
async def remote(synced: Synced, tmp_path: Path) -> AsyncIterator[RemoteFolder]:
    """Reached by the Secret `far` of the workspace."""
    folder = RemoteFolder(tmp_path / "remote")
    await folder.store.start()
    synced.remotes.by_config[b"far away"] = folder
    await synced.store.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "far", "namespace": "acme"},
            "stringData": {"kubeconfig": "far away"},
        }
    )
    await until(lambda: synced.store.index.secret("acme", "far") is not None)
    yield folder
    await folder.store.stop()


def grant_in(remote: RemoteFolder, namespace: str = "prod") -> bool:
    return any(grant.metadata.name == "shop" for grant in remote.index.grants(namespace))


FAR = {"cluster": {"kubeconfigSecret": "far"}}


async def test_an_install_goes_to_its_remote_cluster_and_nowhere_else(synced: Synced, remote: RemoteFolder) -> None:
    await synced.store.create(shop(**FAR))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await until(lambda: grant_in(remote))
    assert remote.index.secret("prod", "akua-pull-shop") is not None
    assert synced.grant() is None
    assert synced.secret() is None
    await synced.store.delete(SHOP)
    await until(lambda: not grant_in(remote) and remote.index.secret("prod", "akua-pull-shop") is None)


async def test_namespaces_of_the_remote_cluster_are_selected(synced: Synced, remote: RemoteFolder) -> None:
    await remote.store.create(space("eu", shop="yes"))
    await synced.store.create(space("us", shop="yes"))
    await until(lambda: remote.index.namespace("eu") is not None)
    await synced.store.create(shop(targets=[{"namespaceSelector": {"matchLabels": {"shop": "yes"}}}], **FAR))
    await until(lambda: grant_in(remote, "eu"))
    assert not grant_in(remote, "us")


async def test_an_install_that_moves_leaves_nothing_behind(synced: Synced, remote: RemoteFolder) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    await synced.store.patch(SHOP, {"spec": FAR})
    await until(lambda: grant_in(remote) and synced.grant() is None and synced.secret() is None)
    await synced.store.patch(SHOP, {"spec": {"cluster": None}})
    await until(lambda: not grant_in(remote) and synced.grant() is not None)


async def test_a_kubeconfig_that_is_refused_is_told(synced: Synced) -> None:
    await synced.store.create(shop(**FAR))
    await until(lambda: synced.condition("Synced") == ("False", "ClusterInvalid"))
    assert "acme/far does not exist" in synced.install().status.conditions[1].message
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "far", "namespace": "acme"}}
    await synced.store.create({**secret, "stringData": {"kubeconfig": "evil"}})
    await until(lambda: "'exec' is refused" in synced.install().status.conditions[1].message)
    await synced.store.patch(Key(Kind.SECRET, "acme", "far"), {"stringData": {"kubeconfig": None, "other": "a"}})
    await until(lambda: "has no kubeconfig" in synced.install().status.conditions[1].message)
    assert synced.grant() is None


async def test_a_dead_cluster_holds_nothing_up(synced: Synced, remote: RemoteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def hang(at_once: bool = False) -> None:
        await never.wait()

    monkeypatch.setattr(remote, "refresh", hang)
    for number in range(20):
        far = {"repositories": ["ghcr.io/a"], "targets": [{"namespace": "prod"}], **FAR}
        await synced.store.create(manifest("Install", f"far-{number}", far))
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))


async def test_a_cluster_that_comes_back_is_provisioned(synced: Synced, remote: RemoteFolder) -> None:
    remote.down = True
    await synced.store.create(shop(**FAR))
    await until(lambda: synced.condition("Synced") == ("False", "ClusterUnreachable"))
    assert synced.condition("Ready") == ("True", "Entitled")
    remote.down = False
    await until(lambda: grant_in(remote))


async def test_a_new_kubeconfig_is_taken_up(synced: Synced, remote: RemoteFolder) -> None:
    remote.down = True
    await synced.store.create(shop(**FAR))
    await until(lambda: synced.condition("Synced") == ("False", "ClusterUnreachable"))
    moved = RemoteFolder(remote.folder.parent / "moved")
    await moved.store.start()
    synced.remotes.by_config[b"moved"] = moved
    await synced.store.patch(Key(Kind.SECRET, "acme", "far"), {"stringData": {"kubeconfig": "moved"}})
    await until(lambda: grant_in(moved))
    await moved.store.stop()


async def test_a_workspaces_kubeconfig_may_go_before_its_installs(synced: Synced, remote: RemoteFolder) -> None:
    await synced.store.create(shop(**FAR))
    await until(lambda: grant_in(remote))
    await synced.store.delete(SECRET)
    await until(lambda: synced.condition("Synced") == ("False", "ClusterInvalid"))
    assert grant_in(remote), "a Secret that is gone is no reason to take running pods their images"
    await synced.store.delete(SHOP)
    await until(lambda: not grant_in(remote) and remote.index.secret("prod", "akua-pull-shop") is None)


async def test_a_connection_outlives_its_secret_only_so_long(
    synced: Synced, remote: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced.store.create(shop(**FAR))
    await until(lambda: grant_in(remote))
    monkeypatch.setattr(remote_clusters, "_LINGER_SECONDS", -1.0)
    await synced.store.delete(SECRET)
    await until(lambda: remote.closed)
    await synced.store.patch(SHOP, {"spec": {"cluster": None}})
    await until(lambda: synced.grant() is not None and len(synced.told.notes("RemoteObjectsLeft")) == 1)
    assert grant_in(remote)
    (note,) = synced.told.notes("RemoteObjectsLeft")
    assert "still good until spec.tokenGeneration is raised" in note
    await until(lambda: synced.install().status.clusters == ())


async def test_a_cluster_that_is_down_is_cleared_once_it_is_back(
    synced: Synced, remote: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.install_sync.controller._BACKOFF_FIRST", 0.05)
    await synced.store.create(shop(**FAR))
    await until(lambda: grant_in(remote))
    remote.down = True
    await synced.store.patch(SHOP, {"spec": {"cluster": None}})
    await until(lambda: synced.grant() is not None)
    assert synced.install().status.clusters == ("far",)
    remote.down = False
    await until(lambda: not grant_in(remote) and synced.install().status.clusters == ())
    await synced.store.patch(SHOP, {"spec": FAR})
    await until(lambda: grant_in(remote))
    remote.down = True
    await synced.store.delete(SHOP)
    await asyncio.sleep(0.1)
    remote.down = False
    await until(lambda: not grant_in(remote))


async def test_a_kubeconfig_is_parsed_off_the_loop_and_what_was_refused_is_not_parsed_again(synced: Synced) -> None:
    def secret(config: str) -> dict[str, object]:
        metadata = {"name": "far", "namespace": "acme"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"kubeconfig": config}}

    await synced.store.create(secret("exec: something"))
    await synced.store.create(shop(**FAR))
    await until(lambda: synced.condition("Synced") == ("False", "ClusterInvalid"))
    for _ in range(3):
        await synced.reconciler.reconcile("acme", "shop")
    assert synced.remotes.connected == [(b"exec: something", False)]
    await synced.store.patch(SECRET, {"stringData": {"kubeconfig": "exec: another"}})
    await until(lambda: synced.remotes.connected[-1] == (b"exec: another", False))
    assert len(synced.remotes.connected) == 2


async def test_an_install_is_in_so_many_clusters_at_most(synced: Synced, remote: RemoteFolder) -> None:
    """Each is to be cleared one day, and the status has room for sixteen."""
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    left = [f"left-{number:02}" for number in range(MAXIMUM_CLUSTERS)]
    removal = Removal(synced.store, synced.clusters, Provisioner(HOST, "control-plane"), synced.told, synced.now, holds=False)
    await synced.store.patch_status(SHOP, {"clusters": left})
    await until(lambda: len(synced.install().status.clusters) == MAXIMUM_CLUSTERS)
    with pytest.raises(InvalidInput, match="which are not cleared yet"):
        await removal.mark(synced.install(), "far")
    assert await removal.mark(synced.install(), "left-00") is not None, "one that is known is no further one"
