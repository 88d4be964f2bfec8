"""Which watches a store keeps while workspaces come and go."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry_access.model.errors import NotFound
from registry_access.model.resources import Kind, RegistryCredential
from registry_access.model.resources.metadata import API_VERSION
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.client.api import KubernetesApi, Unavailable
from registry_access.state.kubernetes.client.interface import Listed
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.store import KubernetesStore
from tests.support.state_conformance import until

NAMESPACES = "/api/v1/namespaces"
ACME_SECRETS = "/api/v1/namespaces/acme/secrets"


def namespace(version: int, *, workspace: bool, deleting: bool = False) -> dict[str, Any]:
    labels = {"registry.akua.dev/workspace": "true"} if workspace else {}
    metadata = {"name": "acme", "uid": "1", "resourceVersion": str(version), "labels": labels}
    return {"kind": "Namespace", "metadata": metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {})}


class OneWorkspace(KubernetesApi):
    """A cluster with the workspace acme, in which there is one Secret. `news` are told to the watch of namespaces in one go."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.watched: list[str] = []
        self.refused: set[str] = set()
        self.fails: set[str] = set()

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        raise NotFound(path)

    async def close(self) -> None:
        return

    async def pages(self, scope: Listed, *, accept: str = "", whole: bool = False) -> AsyncIterator[dict[str, Any]]:
        if scope.path in self.refused:
            raise Unavailable("secrets is forbidden", status=403)
        yield {"metadata": {"resourceVersion": "1"}, "items": self._held(scope)}

    @contextlib.asynccontextmanager
    async def watch(self, scope: WatchScope, resource_version: str, seconds: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        self.watched.append(scope.path)
        if scope.path in self.fails:
            raise Unavailable("internal error", status=500)
        if scope.path in self.refused:
            raise Unavailable("secrets is forbidden", status=403)

        async def events() -> AsyncIterator[dict[str, Any]]:
            for item in self._held(scope):
                yield {"type": "ADDED", "object": item}
            done = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            yield {"type": "BOOKMARK", "object": {"metadata": done}}
            while scope.path == NAMESPACES:
                for item in await self.news.get():
                    yield {"type": "MODIFIED", "object": item}
            await asyncio.Event().wait()

        yield events()

    def _held(self, scope: Listed) -> list[dict[str, Any]]:
        if scope.path == NAMESPACES:
            return [namespace(1, workspace=True)]
        metadata = {"name": "ghcr", "namespace": "acme", "uid": "2", "resourceVersion": "1"}
        return [{"metadata": metadata, "data": {}}] if scope.path == ACME_SECRETS else []


@contextlib.asynccontextmanager
async def started(api: OneWorkspace, secrets_maximum: int | None = None) -> AsyncIterator[KubernetesStore]:
    access = ClusterAccess("https://kubernetes.invalid", ssl.create_default_context())
    kinds = {Kind.NAMESPACE, Kind.SECRET, Kind.REGISTRY_CREDENTIAL}
    store = KubernetesStore(access, kinds=kinds, system_secrets=(), secrets_maximum=secrets_maximum)
    store.api = api
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def test_a_label_that_goes_and_comes_back_in_one_breath_leaves_the_workspace_its_secrets() -> None:
    api = OneWorkspace()
    async with started(api) as store:
        await until(lambda: store.index.secret("acme", "ghcr"))
        api.news.put_nowait([namespace(2, workspace=False), namespace(3, workspace=True)])
        await until(lambda: api.watched.count(ACME_SECRETS) == 2)
        await until(lambda: store.index.secret("acme", "ghcr"))


async def test_without_its_label_nothing_of_it_is_held() -> None:
    api = OneWorkspace()
    async with started(api) as store:
        await until(lambda: store.index.secret("acme", "ghcr"))
        api.news.put_nowait([namespace(2, workspace=False)])
        await until(lambda: store.index.secret("acme", "ghcr") is None)
        api.news.put_nowait([namespace(3, workspace=True)])
        await until(lambda: store.index.secret("acme", "ghcr"))


async def test_a_right_withdrawn_under_an_open_watch_is_the_workspace_s_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its RoleBinding was replaced: the watch goes on, the list is refused, and only this workspace is no longer proven."""
    monkeypatch.setattr("registry_access.state.kubernetes.store._LIST_SECONDS", (0.01, 0.01))
    monkeypatch.setattr("registry_access.state.kubernetes.watch.reflector._DENIED_SECONDS", 0.0)
    api = OneWorkspace()
    async with started(api) as store:
        store._denied_wait = lambda: 0.01  # type: ignore[method-assign]
        await until(lambda: store.secrets_of("acme").staleness < 5)
        api.refused.add(ACME_SECRETS)
        await until(lambda: store.secrets_of("acme").staleness == float("inf"))
        assert "forbidden" in store.secrets_of("acme").problem
        assert store.index.secret("acme", "ghcr") is None, "what nobody lets us read is not served"
        assert store.unreadable_workspaces(15) == 1
        assert store.synced
        assert all(each.scope.namespace != "acme" for each in store._counted())
        api.refused.clear()
        await until(lambda: store.secrets_of("acme").staleness < 5 and store.index.secret("acme", "ghcr") is not None)


async def test_a_workspace_that_is_being_deleted_is_none_at_once() -> None:
    """However long a pod of it takes to end, and though its RoleBindings are gone before it is."""
    api = OneWorkspace()
    async with started(api) as store:
        assert store.index.workspace_problem("acme") == ""
        api.news.put_nowait([namespace(2, workspace=True, deleting=True)])
        await until(lambda: store.index.workspace_problem("acme") == "namespace acme is being deleted")
        await until(lambda: store.index.secret("acme", "ghcr") is None)
        assert store.synced


async def test_secrets_that_do_not_come_do_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    api = OneWorkspace()
    api.fails.add(ACME_SECRETS)
    monkeypatch.setattr("registry_access.state.kubernetes.store._OPTIONAL_SHARE", 0.0)
    async with started(api) as store:
        assert store.synced
        assert store.secrets_of("acme").staleness == float("inf")


def test_only_what_is_seen_can_be_said_to_be_missing() -> None:
    assert ResourceIndex(sees_namespaces=True).workspace_problem("acme") == "namespace acme does not exist"
    assert ResourceIndex().workspace_problem("acme") == ""
    assert "reserved" in ResourceIndex().workspace_problem("kube-system")


async def test_a_credential_that_names_a_secret_has_the_workspace_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Secret was there before, and passed over: nothing named it."""
    monkeypatch.setattr("registry_access.state.kubernetes.store._REREAD_SECONDS", 0.01)
    api = OneWorkspace()
    async with started(api, secrets_maximum=1000) as store:
        await until(lambda: store.secrets_of("acme").staleness < 5)
        assert store.index.secret("acme", "ghcr") is None
        metadata = {"name": "ghcr", "namespace": "acme"}
        spec = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}
        manifest = {"apiVersion": API_VERSION, "kind": "RegistryCredential", "metadata": metadata, "spec": spec}
        store.index.put(RegistryCredential.from_manifest(manifest))
        await until(lambda: store.index.secret("acme", "ghcr") is not None)
        assert api.watched.count(ACME_SECRETS) == 2
