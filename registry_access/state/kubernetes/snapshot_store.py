"""The state store of a command: read once, and no more of the cluster than the command needs.

Anybody who may use kubectl in a workspace can use `akua` there too: nothing is watched, no heartbeat is written, and what the
command does not need may be forbidden.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from registry_access.model.errors import InvalidManifest, NotFound, StateUnavailable
from registry_access.model.resources import Key, Kind, Resource
from registry_access.model.resources.metadata import INSTALL_LABEL, SYSTEM_NAMESPACE
from registry_access.state.interface import HeldSecrets
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.client.api import Gone, Unavailable
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.store import KubernetesStore
from registry_access.state.kubernetes.watch.listing import list_into

_FORBIDDEN = 403


class SnapshotStore(KubernetesStore):
    """Reads `kinds` of one `workspace`, or ("") of all. Secrets are those of workspaces; where they may not be listed, they are
    absent and the workspace is in `sealed`. `provisioned`: what the install sync wrote, wherever it is, and the names of
    all namespaces too.

    What is read by key or written shows in the index at once. Staleness is the age of the snapshot.
    """

    def __init__(
        self,
        access: ClusterAccess,
        *,
        kinds: Collection[Kind],
        workspace: str = "",
        provisioned: bool = False,
        on_problem: Callable[[InvalidManifest], None] | None = None,
    ) -> None:
        super().__init__(access, kinds=(), on_problem=on_problem)
        self._asked = frozenset(kinds)
        self._workspace = workspace
        self._provisioned = provisioned
        self._read_at = float("-inf")
        self.sealed: frozenset[str] = frozenset()

    @property
    def synced(self) -> bool:
        return self._read_at > float("-inf")

    def staleness(self) -> float:
        return time.monotonic() - self._read_at

    def secrets_of(self, workspace: str) -> HeldSecrets:
        return HeldSecrets(self.staleness())

    async def start(self, patience: float = 30.0) -> None:
        """Raises StateUnavailable, with the way out where a right is missing."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                await self._read_all()
        except TimeoutError as error:
            await self.stop()
            raise StateUnavailable(f"the cluster could not be read within {patience:.0f} s") from error
        except (StateUnavailable, Gone) as error:
            await self.stop()
            raise StateUnavailable(f"{error}{self._remedy(error)}") from error
        self._read_at = began

    async def refresh(self, kind: Kind) -> None:
        """Reads a kind again, deletions included. Raises StateUnavailable."""
        try:
            found = await list_into(self._feed, self.api, WatchScope(kind, self._workspace))
        except Gone as error:
            raise StateUnavailable(str(error)) from error
        for resource in list(self.index.of_kind(kind)):
            if resource.key not in found:
                self.index.remove(resource.key)

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        await super().delete(key, uid=uid)
        self.index.remove(key)

    def _resource(self, body: dict[str, Any], key: Key) -> Resource:
        resource = super()._resource(body, key)
        self.index.put(resource)
        return resource

    async def _read_all(self) -> None:
        await self._read_namespaces()
        ours = sorted(self._asked - {Kind.NAMESPACE, Kind.SECRET})
        await asyncio.gather(*(list_into(self._feed, self.api, WatchScope(kind, self._workspace)) for kind in ours))
        if Kind.SECRET in self._asked:
            workspaces = [self._workspace] if self._workspace else list(self.index.workspaces())
            seen = await asyncio.gather(*(self._may_list(WatchScope(Kind.SECRET, name)) for name in workspaces))
            self.sealed = frozenset(name for name, may in zip(workspaces, seen, strict=True) if not may)
        if self._provisioned:
            await self._may_list(WatchScope(Kind.PULL_GRANT))
            await self._may_list(WatchScope(Kind.SECRET, label_selector=INSTALL_LABEL))
            await self.read(Key(Kind.NAMESPACE, "", SYSTEM_NAMESPACE))

    async def _read_namespaces(self) -> None:
        everywhere = not self._workspace or self._provisioned
        if everywhere and await self._may_list(WatchScope(Kind.NAMESPACE), needed=not self._workspace):
            self.index.sees_namespaces = True
            return
        try:
            await self.read(Key(Kind.NAMESPACE, "", self._workspace))
        except NotFound:
            return  # a workspace to come, or a name that is wrong: the command says so
        except Unavailable as error:
            if error.status != _FORBIDDEN:
                raise

    async def _may_list(self, scope: WatchScope, *, needed: bool = False) -> bool:
        try:
            await list_into(self._feed, self.api, scope)
        except Unavailable as error:
            if needed or error.status != _FORBIDDEN:
                raise
            return False
        return True

    def _remedy(self, error: Exception) -> str:
        forbidden = isinstance(error, Unavailable) and error.status == _FORBIDDEN
        return "; pass one of your workspaces with --workspace" if forbidden and not self._workspace else ""
