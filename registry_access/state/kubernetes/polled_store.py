"""A remote cluster, looked at now and then instead of watched: what provisioning into it needs, and no more."""

from __future__ import annotations

import asyncio
import time

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Key, Kind, Resource
from registry_access.model.resources.metadata import INSTALL_LABEL
from registry_access.runtime.backoff import Backoff
from registry_access.runtime.failure import why
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import Manifest
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.client.api import Gone
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.store import KubernetesStore
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.listing import list_into

_LIST_SECONDS = 60.0  # a server that pages without end is as good as down
_SCOPES = (
    WatchScope(Kind.NAMESPACE),
    WatchScope(Kind.PULL_GRANT),
    WatchScope(Kind.SECRET, label_selector=INSTALL_LABEL),
)


class PolledStore:
    """Reads namespaces, pull grants and the pull Secrets that a sync wrote; an unreachable cluster is left alone for a while,
    longer each time (1 s to a minute), and answers StateUnavailable at once meanwhile.
    """

    def __init__(self, access: ClusterAccess, *, fresh_seconds: float = 15.0) -> None:
        self._store = KubernetesStore(access, kinds=())
        self._feed = Feed(self._store.index)
        self._fresh_seconds = fresh_seconds
        self._tried = self._refreshed = float("-inf")
        self._down_until = float("-inf")
        self._down_because = ""
        self._backoff = Backoff(1.0, 30.0)
        self._lock = asyncio.Lock()

    @property
    def index(self) -> ResourceIndex:
        return self._store.index

    async def refresh(self, at_once: bool = False) -> None:
        """Brings the index up to date, unless that was done a moment ago. `at_once`: even so, and however long it is down.

        Raises StateUnavailable.
        """
        asked = time.monotonic()
        async with self._lock:
            if not at_once or self._tried > asked:  # who waited while it was done need not do it again
                if time.monotonic() - self._refreshed < self._fresh_seconds:
                    return
                self._refuse_while_down()
            began = self._tried = time.monotonic()
            self._store.api.allow()
            try:
                async with asyncio.timeout(_LIST_SECONDS):
                    for scope in _SCOPES:
                        await self._list(scope)
            except TimeoutError as error:
                raise self._down(StateUnavailable(f"it could not be listed within {_LIST_SECONDS:g} s")) from error
            except (StateUnavailable, Gone) as error:
                raise self._down(error) from error
            except (AttributeError, TypeError, ValueError) as error:
                raise self._down(StateUnavailable("it answers with something else than an API server does")) from error
            self._refreshed, self._down_until = began, float("-inf")
            self._backoff.reset()

    async def read(self, key: Key) -> Resource:
        self._begin()
        return await self._store.read(key)

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        self._begin()
        made = await self._store.apply(manifest, manager=manager)
        self.index.put(made)
        return made

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        self._begin()
        await self._store.delete(key, uid=uid)
        self.index.remove(key)

    async def close(self) -> None:
        await self._store.api.close()

    async def _list(self, scope: WatchScope) -> None:
        found = await list_into(self._feed, self._store.api, scope)
        for resource in list(self.index.of_kind(scope.kind)):
            if resource.key not in found:
                self._feed.remove(resource.key)

    def _begin(self) -> None:
        self._refuse_while_down()
        self._store.api.allow()

    def _refuse_while_down(self) -> None:
        left = self._down_until - time.monotonic()
        if left > 0:
            raise StateUnavailable(f"{self._down_because}; retrying in {left:.0f} s")

    def _down(self, error: Exception) -> StateUnavailable:
        self._down_because = str(error) or why(error)
        self._down_until = time.monotonic() + self._backoff.next()
        return StateUnavailable(self._down_because)
