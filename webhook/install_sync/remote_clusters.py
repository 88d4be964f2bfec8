"""The clusters that installs go to: this one, and those that a kubeconfig Secret of their workspace reaches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Install, Secret
from registry_access.state.index import ResourceIndex
from webhook.install_sync.cluster import ObjectStore, TargetCluster
from webhook.install_sync.references import InstallReferences

logger = logging.getLogger(__name__)
KUBECONFIG_KEYS = ("kubeconfig", "value")  # the second is how Cluster API names it
_RECHECK_SECONDS = 60.0


class RemoteStore(ObjectStore, Protocol):
    """A cluster without a watch."""

    async def refresh(self, at_once: bool = False) -> None:
        """Brings the index up to date, unless that was done, or failed, a moment ago; with `at_once` then too.

        Raises StateUnavailable.
        """
        ...

    async def close(self) -> None: ...


Connect = Callable[[bytes], RemoteStore]  # from a kubeconfig; raises InvalidInput


@dataclass(frozen=True, slots=True)
class _Connected:
    secret: Secret
    store: RemoteStore
    cluster: TargetCluster


class KnownClusters:
    """One connection per kubeconfig Secret, made anew when the Secret changes.

    Nothing announces changes in a remote cluster: each install there is looked at every minute, which also mends drift and
    finds namespaces that a selector now matches.
    """

    def __init__(self, index: ResourceIndex, local: TargetCluster, references: InstallReferences, connect: Connect) -> None:
        self.local = local
        self._index = index
        self._references = references
        self._connect = connect
        self._connected: dict[tuple[str, str], _Connected] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def of(self, install: Install) -> TargetCluster:
        """Raises InvalidInput."""
        return self._reach(install.workspace, install.kubeconfig_secret) if install.kubeconfig_secret else self.local

    def reached_from(self, workspace: str) -> Sequence[TargetCluster]:
        """Those that cannot be used are left out: what is in them cannot be removed by us."""
        names = {*self._references.kubeconfigs(workspace), *(name for space, name in self._connected if space == workspace)}
        found = []
        for name in sorted(names):
            try:
                found.append(self._reach(workspace, name))
            except InvalidInput as error:
                logger.warning("nothing can be removed from the cluster of %s/%s: %s", workspace, name, error)
        return found

    async def close(self) -> None:
        for known in self._connected.values():
            await known.store.close()
        self._connected.clear()
        await asyncio.gather(*self._closing)

    def _reach(self, workspace: str, name: str) -> TargetCluster:
        secret = self._index.secret(workspace, name)
        if secret is None:
            self._drop((workspace, name))
            raise InvalidInput(
                f"Secret {workspace}/{name} does not exist", remedy="create it, with a kubeconfig below kubeconfig"
            )
        known = self._connected.get((workspace, name))
        if known is not None and known.secret.data == secret.data:
            return known.cluster
        self._drop((workspace, name))
        config = next((secret.data[key] for key in KUBECONFIG_KEYS if key in secret.data), None)
        if config is None:
            raise InvalidInput(f"Secret {workspace}/{name} has no kubeconfig", remedy="put one below the name kubeconfig")
        store = self._connect(config)
        made = TargetCluster(store, name=f"{workspace}/{name}", refresh=store.refresh, recheck_seconds=_RECHECK_SECONDS)
        self._connected[workspace, name] = _Connected(secret, store, made)
        return made

    def _drop(self, name: tuple[str, str]) -> None:
        known = self._connected.pop(name, None)
        if known is not None:
            closing = asyncio.create_task(known.store.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
