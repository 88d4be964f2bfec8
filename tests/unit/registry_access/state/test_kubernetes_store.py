"""Which watches a store keeps while workspaces come and go."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from registry_access.model.errors import NotFound
from registry_access.model.resources import Kind
from registry_access.state.kubernetes.access import ClusterAccess
from registry_access.state.kubernetes.api import KubernetesApi, Listed
from registry_access.state.kubernetes.resource_path import Scope
from registry_access.state.kubernetes.store import KubernetesStore
from tests.support.state_conformance import until

NAMESPACES = "/api/v1/namespaces"
ACME_SECRETS = "/api/v1/namespaces/acme/secrets"


def namespace(version: int, *, workspace: bool) -> dict[str, Any]:
    labels = {"registry.akua.dev/workspace": "true"} if workspace else {}
    return {"kind": "Namespace", "metadata": {"name": "acme", "uid": "1", "resourceVersion": str(version), "labels": labels}}


class OneWorkspace(KubernetesApi):
    """A cluster with the workspace acme, in which there is one Secret. `news` are told to the watch of namespaces in one go."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.watched: list[str] = []

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        raise NotFound(path)

    async def close(self) -> None:
        return

    async def pages(self, scope: Listed, *, accept: str = "", whole: bool = False) -> AsyncIterator[dict[str, Any]]:
        yield {"metadata": {"resourceVersion": "1"}, "items": self._held(scope)}

    @contextlib.asynccontextmanager
    async def watch(self, scope: Scope, resource_version: str, seconds: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        self.watched.append(scope.path)

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
async def started(api: OneWorkspace) -> AsyncIterator[KubernetesStore]:
    access = ClusterAccess("https://kubernetes.invalid", ssl.create_default_context())
    store = KubernetesStore(access, kinds={Kind.NAMESPACE, Kind.SECRET}, system_secrets=())
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
