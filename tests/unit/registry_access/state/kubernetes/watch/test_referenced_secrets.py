"""What is held of a workspace's Secrets: what its credentials name, and no more than there is room for."""

from __future__ import annotations

import base64

import pytest

from registry_access.model.resources import Key, Kind
from registry_access.model.resources.resource import resource_from_manifest
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.referenced_secrets import ReferencedSecrets

MAXIMUM = 1000


class World:
    def __init__(self, *, kubeconfigs: bool = True) -> None:
        self.index = ResourceIndex()
        self.reread: list[str] = []
        self.secrets = ReferencedSecrets(self.index, "akua-system", MAXIMUM, self.reread.append, kubeconfigs=kubeconfigs)
        self.feed = Feed(self.index, secrets=self.secrets)
        self.version = 0

    def secret(self, name: str, namespace: str = "acme", labels: dict[str, str] | None = None, **values: str) -> None:
        self.version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": name,
            "resourceVersion": str(self.version),
            "labels": labels or {},
        }
        data = {each: base64.b64encode(value.encode()).decode() for each, value in values.items()}
        self.feed.put(Key(Kind.SECRET, namespace, name), {"metadata": metadata, "data": data})

    def credential(self, name: str, secret: str | None) -> None:
        self.version += 1
        spec = {"registry": "ghcr.io", "type": "Basic" if secret else "Anonymous"} | ({"secretName": secret} if secret else {})
        metadata = {"name": name, "namespace": "acme", "uid": name, "resourceVersion": str(self.version)}
        made = resource_from_manifest(
            {"apiVersion": "registry.akua.dev/v1alpha1", "kind": "RegistryCredential", "metadata": metadata, "spec": spec}
        )
        assert made is not None
        self.index.put(made)

    def held(self, name: str) -> set[str] | None:
        found = self.index.secret("acme", name)
        return None if found is None else set(found.data)


@pytest.fixture
def world() -> World:
    return World()


def test_what_nothing_names_is_not_held(world: World) -> None:
    world.secret("big", password="x" * 500, other="y" * 100_000)
    assert world.held("big") is None
    world.credential("ghcr", "big")
    assert world.reread == ["acme"], "it was passed over, and is to be read again"
    world.secret("big", password="x" * 500, other="y" * 100_000)
    assert world.held("big") == {"password"}
    world.credential("ghcr", None)
    assert world.held("big") is None
    assert world.secrets.bytes_held() == 0


def test_versions_are_held_by_what_names_the_whole(world: World) -> None:
    world.credential("ghcr", "ghcr")
    labels = {"registry.akua.dev/secret": "ghcr", "registry.akua.dev/version": "1"}
    world.secret("ghcr-v1", labels=labels, password="a")
    world.secret("not-a-version", labels=labels, password="a")
    assert (world.held("ghcr-v1"), world.held("not-a-version")) == ({"password"}, None)


def test_a_workspace_has_room_for_so_much_and_says_so(world: World) -> None:
    for name in ("one", "two", "three"):
        world.credential(name, name)
    world.secret("one", password="x" * 400)
    world.secret("two", password="x" * 400)
    assert (world.held("one"), world.held("two")) == ({"password"}, None)
    assert "without room for two" in world.secrets.problem("acme")
    assert "AKUA_WORKSPACE_SECRETS_MAXIMUM" in str(world.feed.problems[Key(Kind.SECRET, "acme", "two")])
    world.secret("three", password="x" * 300)
    assert world.held("three") == {"password"}, "the next that has room"
    world.reread.clear()
    world.feed.remove(Key(Kind.SECRET, "acme", "one"))
    assert world.reread == ["acme"]
    world.secret("two", password="x" * 400)
    assert world.held("two") == {"password"}
    assert world.secrets.problem("acme") == ""


def test_a_value_that_grew_too_large_is_not_served_as_it_was(world: World) -> None:
    world.credential("ghcr", "ghcr")
    world.secret("ghcr", password="old")
    world.secret("ghcr", password="x" * 2000)
    assert world.held("ghcr") is None


def test_an_installs_kubeconfig_is_held_and_our_own_as_they_are(world: World) -> None:
    made = resource_from_manifest(
        {
            "apiVersion": "registry.akua.dev/v1alpha1",
            "kind": "Install",
            "metadata": {"name": "far", "namespace": "acme"},
            "spec": {"repositories": ["ghcr.io/acme/app"], "cluster": {"kubeconfigSecret": "reach"}},
        }
    )
    assert made is not None
    world.index.put(made)
    world.secret("reach", kubeconfig="k", password="x")
    assert world.held("reach") == {"kubeconfig"}
    world.secret("akua-ca", "akua-system", anything="x" * 5000)
    assert world.index.secret("akua-system", "akua-ca") is not None
    world.index.remove(made.key)
    assert world.held("reach") is None
    proxy = World(kubeconfigs=False)
    proxy.index.put(made)
    proxy.secret("reach", kubeconfig="k")
    assert proxy.held("reach") is None, "a proxy alone has no use for it"


def test_the_label_of_pull_secrets_is_no_way_round_it(world: World) -> None:
    world.secret("mine", labels={"registry.akua.dev/install": "shop"}, password="x")
    assert world.held("mine") is None
