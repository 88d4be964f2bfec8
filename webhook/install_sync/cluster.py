"""A cluster that the sync provisions: the one that the state lives in, or another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from registry_access.model.resources import Key, Kind, Namespace, PullGrant, Resource, Secret
from registry_access.model.resources.metadata import INSTALL_LABEL, INSTALL_WORKSPACE_LABEL, MANAGED_BY_LABEL, MANAGER
from registry_access.state.index import Change
from registry_access.state.interface import Manifest, StateStore


class TargetCluster(Protocol):
    """What provisioning needs of a cluster."""

    def namespaces(self) -> Collection[Namespace]: ...

    def provisioned(self, workspace: str, install: str) -> Sequence[PullGrant | Secret]:
        """What the sync wrote for an install, wherever it is."""
        ...

    def get(self, key: Key) -> Resource | None: ...

    async def apply(self, manifest: Manifest) -> None: ...

    async def delete(self, key: Key, uid: str) -> None: ...


class LocalCluster:
    """The cluster, or folder, that holds the installs themselves."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._owned: dict[tuple[str, str], dict[Key, PullGrant | Secret]] = {}
        present: list[PullGrant | Secret] = [*store.index.all_grants(), *store.index.secrets()]
        for found in present:
            self._note(found)
        store.index.subscribe(self._changed, {Kind.PULL_GRANT, Kind.SECRET})

    def namespaces(self) -> Collection[Namespace]:
        return self._store.index.namespaces()

    def get(self, key: Key) -> Resource | None:
        return self._store.index.get(key)

    def provisioned(self, workspace: str, install: str) -> Sequence[PullGrant | Secret]:
        return tuple(self._owned.get((workspace, install), {}).values())

    async def apply(self, manifest: Manifest) -> None:
        await self._store.apply(manifest, manager=MANAGER)

    async def delete(self, key: Key, uid: str) -> None:
        await self._store.delete(key, uid=uid)

    def _changed(self, change: Change) -> None:
        if (owner := owner_of(change.before)) is not None:
            self._owned.get(owner, {}).pop(change.key, None)
        if isinstance(change.after, PullGrant | Secret):
            self._note(change.after)

    def _note(self, found: PullGrant | Secret) -> None:
        if (owner := owner_of(found)) is not None:
            self._owned.setdefault(owner, {})[found.key] = found


def owner_of(resource: Resource | None) -> tuple[str, str] | None:
    """Workspace and install that an object of ours was written for; None for everything else."""
    if resource is None or resource.kind not in (Kind.PULL_GRANT, Kind.SECRET):
        return None
    labels = resource.metadata.labels
    if labels.get(MANAGED_BY_LABEL) != MANAGER:
        return None
    return labels.get(INSTALL_WORKSPACE_LABEL, ""), labels.get(INSTALL_LABEL, "")
