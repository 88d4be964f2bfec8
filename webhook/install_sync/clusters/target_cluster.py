"""A cluster that the sync provisions: the one that the state lives in, or another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from registry_access.model.errors import NotFound
from registry_access.model.resources import Install, Key, Kind, Namespace, PullGrant, Resource, Secret
from registry_access.model.resources.metadata import INSTALL_SYNC_MANAGER
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.interface import Manifest
from webhook.install_sync.objects.ownership import Name, owner_of


class ObjectStore(Protocol):
    """What provisioning needs of a cluster's API; every state store has it. Raises StateError and InvalidManifest."""

    @property
    def index(self) -> ResourceIndex: ...

    async def read(self, key: Key) -> Resource: ...

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource: ...

    async def delete(self, key: Key, *, uid: str | None = None) -> None: ...


class TargetCluster:
    """`name` is "" for the cluster, or folder, that holds the installs. `refresh` brings an index up to date that no watch
    feeds, and `recheck_seconds` says how often such a cluster must be looked at.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        name: str = "",
        refresh: Callable[[bool], Awaitable[None]] | None = None,
        recheck_seconds: float | None = None,
    ) -> None:
        self.name = name
        self.recheck_seconds = recheck_seconds
        self._store = store
        self._refresh = refresh
        self._owned: dict[Name, tuple[PullGrant | Secret, ...]] = {}
        present: list[PullGrant | Secret] = [*store.index.all_grants(), *store.index.secrets()]
        for found in present:
            self._note(found)
        store.index.subscribe(self._changed, {Kind.PULL_GRANT, Kind.SECRET})

    async def refresh(self, at_once: bool = False) -> None:
        """Raises StateUnavailable when the cluster cannot be reached. `at_once`: whatever was found out a moment ago."""
        if self._refresh is not None:
            await self._refresh(at_once)

    def namespaces_for(self, install: Install) -> Collection[Namespace]:
        """Those that its targets are chosen from; none when all of them are named, which costs thousands of installs nothing."""
        selects = any(target.namespace is None for target in install.targets)
        return self._store.index.namespaces() if selects else ()

    def namespace(self, name: str) -> Namespace | None:
        return self._store.index.namespace(name)

    def grants(self, namespace: str) -> Sequence[PullGrant]:
        return self._store.index.grants(namespace)

    def owners(self) -> Collection[Name]:
        """The installs that something was written for."""
        return tuple(self._owned)

    def provisioned(self, workspace: str, install: str) -> Sequence[PullGrant | Secret]:
        """What a sync wrote for an install, wherever it is."""
        return self._owned.get((workspace, install), ())

    async def find(self, key: Key) -> Resource | None:
        """The object, asked for afresh when the index has none: that holds only Secrets with our labels."""
        found = self._store.index.get(key)
        if found is not None:
            return found
        try:
            return await self._store.read(key)
        except NotFound:
            return None

    async def apply(self, manifest: Manifest) -> None:
        await self._store.apply(manifest, manager=INSTALL_SYNC_MANAGER)

    async def delete(self, key: Key, uid: str) -> None:
        await self._store.delete(key, uid=uid)

    def _changed(self, change: Change) -> None:
        if (owner := owner_of(change.before)) is not None:
            others = tuple(item for item in self._owned.pop(owner, ()) if item is not change.before)
            if others:
                self._owned[owner] = others
        if isinstance(change.after, PullGrant | Secret):
            self._note(change.after)

    def _note(self, found: PullGrant | Secret) -> None:
        if (owner := owner_of(found)) is not None:
            self._owned[owner] = (*self._owned.get(owner, ()), found)
