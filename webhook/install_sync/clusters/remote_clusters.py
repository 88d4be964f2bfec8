"""The clusters that installs go to: this one, and those that a kubeconfig Secret of their workspace reaches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from registry_access.model.errors import InvalidInput, NotFound, StateUnavailable
from registry_access.model.resources import Install, Key, Kind, Secret
from registry_access.runtime.connections.name_lookup import tenant
from registry_access.state.interface import StateStore
from webhook.install_sync.clusters.target_cluster import ObjectStore, TargetCluster

KUBECONFIG_KEYS = ("kubeconfig", "value")  # the second is how Cluster API names it
_RECHECK_SECONDS = 60.0
_LINGER_SECONDS = 900.0
_REFUSED_MAXIMUM = 1024


class RemoteStore(ObjectStore, Protocol):
    """A cluster without a watch."""

    async def refresh(self, at_once: bool = False) -> None:
        """Brings the index up to date, unless that was done, or failed, a moment ago; with `at_once` then too.

        Raises StateUnavailable.
        """
        ...

    async def close(self) -> None: ...


Connect = Callable[[bytes], RemoteStore]  # from a kubeconfig, in a thread; raises InvalidInput


def kubeconfig_in(secret: Secret) -> bytes:
    """The kubeconfig that a Secret holds. Raises InvalidInput when there is none."""
    config = next((secret.data[key] for key in KUBECONFIG_KEYS if key in secret.data), None)
    if config is None:
        shown = f"{secret.metadata.namespace}/{secret.metadata.name}"
        raise InvalidInput(f"Secret {shown} has no kubeconfig", remedy="put one below the name kubeconfig")
    return config


@dataclass(frozen=True, slots=True)
class _Connected:
    secret: Secret
    store: RemoteStore
    cluster: TargetCluster


class KnownClusters:
    """One connection per kubeconfig Secret, replaced when the Secret changes.

    Nothing announces changes in a remote cluster: each install there is checked every minute, which also repairs drift and
    finds namespaces that a selector now matches.

    A connection outlives its Secret by 15 minutes, for clearing up only: deleting a workspace deletes its Secrets together with
    its installs.
    """

    def __init__(self, store: StateStore, local: TargetCluster, connect: Connect) -> None:
        self.local = local
        self._store = store
        self._connect = connect
        self._connected: dict[tuple[str, str], _Connected] = {}
        self._gone: dict[tuple[str, str], float] = {}  # monotonic time at which a connection was seen without its Secret
        self._refused: dict[tuple[str, str], tuple[Secret, InvalidInput]] = {}  # not looked at again until it changes
        self._closing: set[asyncio.Task[None]] = set()

    async def of(self, install: Install) -> TargetCluster:
        """Raises InvalidInput, and StateError when it cannot be found out whether the Secret is there."""
        if not install.kubeconfig_secret:
            return self.local
        name = (install.workspace, install.kubeconfig_secret)
        secret = await self._secret(name)
        if secret is None:
            self._linger(name)
            self._refused.pop(name, None)
            raise InvalidInput(f"Secret {'/'.join(name)} does not exist", remedy="create it, with a kubeconfig below kubeconfig")
        return await self._reach(name, secret)

    async def to_clear(self, workspace: str, secret: str) -> TargetCluster:
        """See `ClustersToClear`."""
        name = (workspace, secret)
        found = await self._secret(name)
        if found is not None:
            return await self._reach(name, found)
        self._linger(name)
        if name not in self._connected:
            raise NotFound(f"Secret {workspace}/{secret} does not exist")
        return self._connected[name].cluster

    async def close(self) -> None:
        for known in self._connected.values():
            await known.store.close()
        self._connected.clear()
        await asyncio.gather(*self._closing)

    async def _secret(self, name: tuple[str, str]) -> Secret | None:
        """Asked for afresh when it is not among those that are watched: a watch begins only when an install names it."""
        found = self._store.index.secret(*name)
        if found is not None:
            return found
        try:
            read = await self._store.read(Key(Kind.SECRET, *name))
        except NotFound:
            return None
        if not isinstance(read, Secret):
            raise StateUnavailable(f"Secret {'/'.join(name)} cannot be read")
        return read

    async def _reach(self, name: tuple[str, str], secret: Secret) -> TargetCluster:
        self._gone.pop(name, None)
        if (known := self._known(name, secret)) is not None:
            return known
        if (refused := self._refused.get(name)) is not None and refused[0].data == secret.data:
            raise refused[1].with_traceback(None)
        whose = tenant.set(name[0])
        try:
            # A tenant's text and certificates are parsed in a thread: no pod and no other install waits for that.
            store = await asyncio.to_thread(self._connect, kubeconfig_in(secret))
        except InvalidInput as error:
            self._drop(name)
            self._refused[name] = (secret, error)
            while len(self._refused) > _REFUSED_MAXIMUM:
                self._refused.pop(next(iter(self._refused)))
            raise
        finally:
            tenant.reset(whose)
        self._refused.pop(name, None)
        if (known := self._known(name, secret)) is not None:  # another install of the same cluster was faster
            await store.close()
            return known
        self._drop(name)
        made = TargetCluster(store, name="/".join(name), refresh=store.refresh, recheck_seconds=_RECHECK_SECONDS)
        self._connected[name] = _Connected(secret, store, made)
        return made

    def _known(self, name: tuple[str, str], secret: Secret) -> TargetCluster | None:
        known = self._connected.get(name)
        return known.cluster if known is not None and known.secret.data == secret.data else None

    def _linger(self, name: tuple[str, str]) -> None:
        """Notes that a Secret is gone, and ends the connections of those that have been for long."""
        now = time.monotonic()
        if name in self._connected:
            self._gone.setdefault(name, now)
        for gone in [each for each, since in self._gone.items() if now - since > _LINGER_SECONDS]:
            self._drop(gone)

    def _drop(self, name: tuple[str, str]) -> None:
        self._gone.pop(name, None)
        known = self._connected.pop(name, None)
        if known is not None:
            closing = asyncio.create_task(known.store.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
