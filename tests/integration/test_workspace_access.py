"""A label makes a workspace: the leader lets the proxy in, the proxy sees its Secrets; all with the rights of the manifests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.resources import Kind
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.kubernetes.client.raw_objects import RawObjects
from tests.support.cluster_process import install_rights
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.state_conformance import until
from webhook.workspace_access import WorkspaceAccess


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    with running_control_plane(tmp_path) as running:
        install_rights(running)
        running.kubectl("create", "namespace", "acme")
        running.kubectl("-n", "acme", "create", "secret", "generic", "ghcr", "--from-literal=password=x")
        yield running


@contextlib.asynccontextmanager
async def opened(plane: ControlPlane, account: str, *secrets: str) -> AsyncIterator[KubernetesStore]:
    access = plane.service_account_access("akua-system", account)
    store = KubernetesStore(access, kinds={Kind.SECRET}, system_secrets=secrets)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


def binding(plane: ControlPlane) -> dict[str, object]:
    found = plane.kubectl("-n", "acme", "get", "rolebinding", "akua-proxy", "-o", "json", "--ignore-not-found")
    return dict(json.loads(found or "{}"))


async def test_the_proxy_follows_the_label(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.workspace_access._LOOK_SECONDS", 0.5)
    async with opened(plane, "akua-webhook") as leader, opened(plane, "akua-proxy", "akua-install-token-jwks") as proxy:
        work = asyncio.create_task(WorkspaceAccess(leader.index, RawObjects(leader.api)).run())
        plane.kubectl("label", "namespace", "acme", "registry.akua.dev/workspace=true")
        await until(lambda: proxy.index.secret("acme", "ghcr") is not None)
        good = {name: binding(plane)[name] for name in ("roleRef", "subjects")}

        plane.kubectl("-n", "acme", "delete", "rolebinding", "akua-proxy")
        await until(lambda: binding(plane))
        patch = '{"subjects": [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}]}'
        plane.kubectl("-n", "acme", "patch", "rolebinding", "akua-proxy", "--type=merge", "-p", patch)
        await until(lambda: {name: binding(plane)[name] for name in good} == good)

        plane.kubectl("label", "namespace", "acme", "registry.akua.dev/workspace-")
        await until(lambda: not binding(plane) and proxy.index.secret("acme", "ghcr") is None)
        plane.kubectl("-n", "acme", "create", "secret", "generic", "later", "--from-literal=password=x")
        assert proxy.staleness() < 15
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def test_one_workspace_s_trouble_is_nobody_else_s(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its admin replaces the RoleBinding by one of his own; then its namespace is deleted, and takes for ever to be gone."""
    monkeypatch.setattr("webhook.workspace_access._LOOK_SECONDS", 0.5)
    monkeypatch.setattr("registry_access.state.kubernetes.watch.reflector._DENIED_SECONDS", 1.0)
    plane.kubectl("create", "namespace", "globex")
    plane.kubectl("-n", "globex", "create", "secret", "generic", "ghcr", "--from-literal=password=x")
    async with opened(plane, "akua-webhook") as leader, opened(plane, "akua-proxy", "akua-install-token-jwks") as proxy:
        work = asyncio.create_task(WorkspaceAccess(leader.index, RawObjects(leader.api)).run())
        plane.kubectl("label", "namespace", "acme", "globex", "registry.akua.dev/workspace=true")
        await until(lambda: proxy.index.secret("acme", "ghcr") is not None and proxy.index.secret("globex", "ghcr") is not None)

        mine = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "akua-proxy", "namespace": "acme"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        plane.kubectl("replace", "--force", "-f", "-", input=json.dumps(mine))
        await until(lambda: proxy.secrets_of("acme").staleness == float("inf"), 60)
        assert "forbidden" in proxy.secrets_of("acme").problem
        assert proxy.secrets_of("globex").staleness < 15
        assert proxy.staleness() < 15
        assert proxy.synced
        plane.kubectl("-n", "acme", "delete", "rolebinding", "akua-proxy")
        await until(lambda: proxy.index.secret("acme", "ghcr") is not None, 60)

        plane.kubectl("delete", "namespace", "acme", "--wait=false")  # no controller here that would end it
        await until(lambda: proxy.index.workspace_problem("acme") == "namespace acme is being deleted")
        await until(lambda: not binding(plane) and proxy.index.secret("acme", "ghcr") is None)
        assert proxy.secrets_of("globex").staleness < 15
        assert proxy.staleness() < 15
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
