"""The Kubernetes adapter on a real API server: the conformance suite, and what only a cluster can do."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from registry_access.model.resources import Key, Kind
from registry_access.state.kubernetes import KubernetesApi, KubernetesStore
from registry_access.state.kubernetes.client.resource_path import collection_path
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import (
    WORKSPACE,
    StartStore,
    StateConformance,
    install_manifest,
    secret_manifest,
    until,
)

__all__ = ["control_plane"]


@pytest.fixture
async def clean_cluster(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """The namespaces that a store needs, and none of our objects."""
    api = KubernetesApi(control_plane.access())
    for name, workspace in ((WORKSPACE, "true"), ("akua-system", None), ("shop-team", None)):
        labels = {"registry.akua.dev/workspace": workspace} if workspace else {}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        query = {"fieldManager": "tests", "force": "true"}
        path = f"/api/v1/namespaces/{name}"
        await api.request("PATCH", path, body=body, query=query, content_type="application/apply-patch+yaml")
    for kind in Kind:
        if kind.namespaced:
            await api.request("DELETE", collection_path(kind, WORKSPACE))
    yield control_plane
    await api.close()


@pytest.fixture
async def start_store(clean_cluster: ControlPlane) -> AsyncIterator[StartStore]:
    started: list[KubernetesStore] = []

    async def start() -> KubernetesStore:
        store = KubernetesStore(clean_cluster.access(), heartbeat_seconds=0.2)
        started.append(store)
        await store.start()
        return store

    yield start
    for store in started:
        await store.stop()


class TestKubernetesStore(StateConformance):
    """All of the suite."""


async def test_an_install_sync_holds_no_secret_of_a_workspace_but_kubeconfigs(clean_cluster: ControlPlane) -> None:
    store = KubernetesStore(clean_cluster.access(), kubeconfigs_only=True, heartbeat_seconds=0.2)

    def held() -> set[str]:
        return {secret.metadata.name for secret in store.index.secrets() if secret.metadata.namespace == WORKSPACE}

    await store.start()
    for name in ("ghcr", "far", "farther"):
        await store.create(secret_manifest(name, password="canary"))
    shop, blog = (Key(Kind.INSTALL, WORKSPACE, name) for name in ("shop", "blog"))
    for key in (shop, blog):
        await store.create(install_manifest(key.name, cluster={"kubeconfigSecret": "far"}))
    await until(lambda: held() == {"far"})
    await store.patch(shop, {"spec": {"cluster": {"kubeconfigSecret": "farther"}}})
    await until(lambda: held() == {"far", "farther"})
    await store.patch(Key(Kind.SECRET, WORKSPACE, "far"), {"data": {"password": base64.b64encode(b"rotated").decode()}})
    await until(lambda: (far := store.index.secret(WORKSPACE, "far")) is not None and far.data["password"] == b"rotated")
    later = KubernetesStore(clean_cluster.access(), kubeconfigs_only=True)
    await later.start()
    assert {secret.metadata.name for secret in later.index.secrets() if secret.metadata.namespace == WORKSPACE} == held()
    await later.stop()
    await store.delete(blog)
    await until(lambda: held() == {"farther"})
    await store.patch(shop, {"spec": {"cluster": None}})
    await until(lambda: not held())
    await store.stop()
