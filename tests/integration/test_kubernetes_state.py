"""The Kubernetes adapter on a real API server: the conformance suite, and what only a cluster can do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from registry_access.model.resources import Kind
from registry_access.state.kubernetes import KubernetesApi, KubernetesStore
from registry_access.state.kubernetes.resource_path import collection_path
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import WORKSPACE, StartStore, StateConformance

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
