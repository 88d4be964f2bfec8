"""Least rights on a real API server: Secrets by name in our own namespace, workspaces' by their RoleBinding."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from registry_access.model.errors import AlreadyExists, StateUnavailable
from registry_access.model.resources import Key, Kind, Secret
from registry_access.state.kubernetes import KubernetesStore
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.state_conformance import until

RBAC = "rbac.authorization.k8s.io"
READ, WRITE = ["get", "list", "watch"], ["create", "patch"]
StartStore = Callable[..., Any]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cluster of its own: rights are cluster-wide."""
    with running_control_plane(tmp_path_factory.mktemp("rights")) as running:
        for name, labels in (("akua-system", {}), ("acme", {"registry.akua.dev/workspace": "true"})):
            apply(running, "v1", "Namespace", {"name": name, "labels": labels})
        for name in ("keys", "jwks", "other"):
            make_secret(running, "akua-system", name)
        make_secret(running, "acme", "ghcr")
        rules = [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": READ},
            {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["akua-system"], "verbs": ["patch"]},
        ]
        apply(running, f"{RBAC}/v1", "ClusterRole", {"name": "base"}, rules=rules)
        workspace = [{"apiGroups": [""], "resources": ["secrets"], "verbs": READ}]
        apply(running, f"{RBAC}/v1", "ClusterRole", {"name": "akua-workspace-secrets"}, rules=workspace)
        bind(running, "base")
        yield running


@pytest.fixture
async def start(plane: ControlPlane) -> AsyncIterator[StartStore]:
    async with AsyncExitStack() as stack:

        async def start(*names: str, optional: tuple[str, ...] = (), patience: float = 20.0) -> KubernetesStore:
            access = plane.service_account_access("akua-system", "akua-proxy")
            store = KubernetesStore(access, kinds={Kind.SECRET}, system_secrets=names, optional_secrets=optional)
            await store.start(patience)
            stack.push_async_callback(store.stop)
            return store

        yield start


def apply(plane: ControlPlane, version: str, kind: str, metadata: dict[str, Any], **rest: Any) -> None:
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **rest}))


def make_secret(plane: ControlPlane, namespace: str, name: str) -> None:
    apply(plane, "v1", "Secret", {"name": name, "namespace": namespace}, stringData={"value": name})


def bind(plane: ControlPlane, role: str, namespace: str = "") -> None:
    """Gives the proxy's ServiceAccount a ClusterRole, everywhere or in one namespace."""
    metadata = {"name": "akua-proxy", "namespace": namespace} if namespace else {"name": "akua-proxy"}
    subject = {"kind": "ServiceAccount", "name": "akua-proxy", "namespace": "akua-system"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    apply(plane, f"{RBAC}/v1", kind, metadata, roleRef=reference, subjects=[subject])


def allow(plane: ControlPlane, *names: str) -> None:
    """The right to read and write these Secrets of our own namespace, and no others."""
    rules = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(names), "verbs": READ + WRITE}]
    apply(plane, f"{RBAC}/v1", "ClusterRole", {"name": "named-secrets"}, rules=rules)
    bind(plane, "named-secrets", "akua-system")


def shown(store: KubernetesStore, namespace: str = "akua-system") -> set[str]:
    return {secret.metadata.name for secret in store.index.secrets() if secret.metadata.namespace == namespace}


async def test_named_secrets_are_watched_and_no_others(plane: ControlPlane, start: StartStore) -> None:
    allow(plane, "keys", "jwks", "absent")
    store = await start("keys", "jwks", "absent")
    assert store.synced
    assert shown(store) == {"keys", "jwks"}
    await until(lambda: store.staleness() < 5)
    make_secret(plane, "akua-system", "absent")
    await until(lambda: shown(store) == {"keys", "jwks", "absent"})
    plane.kubectl("-n", "akua-system", "delete", "secret", "absent")
    await until(lambda: shown(store) == {"keys", "jwks"})


async def test_a_named_secret_is_made_by_one_of_those_that_try(plane: ControlPlane, start: StartStore) -> None:
    allow(plane, "made")
    stores = [await start("made") for _ in range(3)]
    tries = await asyncio.gather(
        *(store.create(manifest("made", str(n))) for n, store in enumerate(stores)), return_exceptions=True
    )
    made = [each for each in tries if isinstance(each, Secret)]
    assert len(made) == 1
    assert all(isinstance(each, AlreadyExists) for each in tries if each is not made[0])
    assert await stores[0].read(made[0].key) == made[0]
    patched = await stores[1].patch(
        made[0].key, {"data": {"value": encoded("new")}}, resource_version=made[0].metadata.resource_version
    )
    assert isinstance(patched, Secret)
    assert patched.data["value"] == b"new"
    with pytest.raises(AlreadyExists):
        await stores[2].create(manifest("made", "again"))
    with pytest.raises(StateUnavailable, match="not allowed"):
        await stores[0].create(manifest("unnamed", "x"))
    plane.kubectl("-n", "akua-system", "delete", "secret", "made")


async def test_one_that_is_needed_and_refused_ends_the_start(plane: ControlPlane, start: StartStore) -> None:
    allow(plane, "keys")
    with pytest.raises(StateUnavailable, match=r"metadata.name=jwks.*not allowed"):
        await start("keys", "jwks", patience=3.0)


async def test_one_that_is_refused_and_optional_holds_nothing_up(plane: ControlPlane, start: StartStore) -> None:
    allow(plane, "keys")
    store = await start("keys", "jwks", optional=("jwks",))
    assert store.synced
    assert shown(store) == {"keys"}
    allow(plane, "keys", "jwks")
    await until(lambda: shown(store) == {"keys", "jwks"})


async def test_a_workspace_is_read_as_soon_as_its_role_binding_is_there(plane: ControlPlane, start: StartStore) -> None:
    allow(plane, "keys")
    store = await start("keys")
    assert shown(store, "acme") == set()
    await asyncio.sleep(6)  # long enough for a wait that doubles to have grown
    bind(plane, "akua-workspace-secrets", "acme")
    await until(lambda: shown(store, "acme") == {"ghcr"}, seconds=5)
    assert store.index.secret("acme", "ghcr") == await store.read(Key(Kind.SECRET, "acme", "ghcr"))
    plane.kubectl("-n", "acme", "delete", "rolebinding", "akua-proxy")


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def manifest(name: str, value: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "akua-system"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"value": encoded(value)}}
