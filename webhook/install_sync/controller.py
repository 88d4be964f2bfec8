"""Keeps every install reconciled: a queue fed by changes, drained one install at a time, with back-off for what fails."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable

from registry_access.model.errors import AkuaError
from registry_access.model.resources import Install, Kind, Product, PullGrant, Secret
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.index import Change
from registry_access.state.interface import StateStore
from webhook.install_sync.cluster import owner_of
from webhook.install_sync.reconciliation import Reconciler

logger = logging.getLogger(__name__)
Name = tuple[str, str]  # workspace, install
_KINDS = frozenset({Kind.INSTALL, Kind.PRODUCT, Kind.NAMESPACE, Kind.PULL_GRANT, Kind.SECRET})
_BACKOFF_FIRST, _BACKOFF_MAXIMUM = 0.5, 60.0
_RESYNC_SECONDS = 600.0


class InstallSync:
    """Runs as one task; `sync` waits for an install, or for all, to have been looked at."""

    def __init__(self, store: StateStore, reconciler: Reconciler, telemetry: Telemetry) -> None:
        self._store = store
        self._reconciler = reconciler
        self._telemetry = telemetry
        self._due: dict[Name, float] = {}  # monotonic time from which each is to be looked at
        self._failures: dict[Name, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Condition()
        self._working: Name | None = None

    async def run(self) -> None:
        """Reconciles until cancelled."""
        unsubscribe = self._store.index.subscribe(self._changed, _KINDS)
        try:
            self._enqueue(self._everything())
            next_resync = time.monotonic() + _RESYNC_SECONDS
            while True:
                if time.monotonic() >= next_resync:
                    self._enqueue(self._everything())
                    next_resync = time.monotonic() + _RESYNC_SECONDS
                name = self._next()
                if name is None:
                    await self._rest(next_resync)
                    continue
                await self._look_at(name)
        finally:
            unsubscribe()

    async def sync(self, names: Iterable[Name] | None = None, deadline: float = 30.0) -> None:
        """Looks at `names` (None: every install) now. Raises TimeoutError at the deadline."""
        wanted = set(self._everything() if names is None else names)
        self._enqueue(wanted)
        async with asyncio.timeout(deadline), self._idle:
            await self._idle.wait_for(lambda: not wanted & self._pending())

    def _pending(self) -> set[Name]:
        now = time.monotonic()
        return {name for name, due in self._due.items() if due <= now} | ({self._working} if self._working else set())

    def _everything(self) -> set[Name]:
        """Every install, and every install that something is left of."""
        index = self._store.index
        installs = {(install.workspace, install.metadata.name) for install in index.installs()}
        provisioned: list[PullGrant | Secret] = [*index.all_grants(), *index.secrets()]
        left = {owner for item in provisioned if (owner := owner_of(item))}
        return installs | left

    def _changed(self, change: Change) -> None:
        if change.key.kind is Kind.INSTALL:
            if _matters(change):
                self._enqueue([(change.key.namespace, change.key.name)])
        elif change.key.kind is Kind.PRODUCT:
            product = change.after or change.before
            if isinstance(product, Product):
                self._enqueue(self._of_product(product))
        elif change.key.kind is Kind.NAMESPACE:
            self._enqueue(self._targeting(change.key.name))
        else:
            owners = {owner for resource in (change.before, change.after) if (owner := owner_of(resource))}
            self._enqueue(owners)

    def _of_product(self, product: Product) -> list[Name]:
        space, name = product.metadata.namespace, product.metadata.name
        return [
            (space, item.metadata.name)
            for item in self._store.index.installs()
            if (item.workspace, item.product) == (space, name)
        ]

    def _targeting(self, namespace: str) -> list[Name]:
        return [
            (item.workspace, item.metadata.name)
            for item in self._store.index.installs()
            if any(target.namespace in (None, namespace) for target in item.targets)
        ]

    def _enqueue(self, names: Iterable[Name]) -> None:
        now = time.monotonic()
        for name in names:
            self._due[name] = min(now, self._due.get(name, now))
        self._wake.set()

    def _next(self) -> Name | None:
        now = time.monotonic()
        return next((name for name, due in self._due.items() if due <= now), None)

    async def _rest(self, next_resync: float) -> None:
        self._wake.clear()
        until = min([*self._due.values(), next_resync])
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            return

    async def _look_at(self, name: Name) -> None:
        self._due.pop(name, None)
        self._working = name
        try:
            renew_at = await self._reconciler.reconcile(*name)
        except AkuaError as error:
            self._retry(name, error)
        except Exception as error:
            logger.exception("install %s/%s could not be synced", *name)
            self._retry(name, error)
        else:
            self._failures.pop(name, None)
            self._telemetry.install_syncs.labels("synced").inc()
            if renew_at is not None and name not in self._due:
                self._due[name] = time.monotonic() + max(1.0, renew_at - time.time())
        finally:
            self._working = None
            async with self._idle:
                self._idle.notify_all()

    def _retry(self, name: Name, error: Exception) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        delay = min(_BACKOFF_MAXIMUM, _BACKOFF_FIRST * 2 ** (failures - 1)) * random.uniform(1, 2)  # noqa: S311 - jitter
        self._due[name] = time.monotonic() + delay
        self._telemetry.install_syncs.labels("failed").inc()
        logger.warning("install %s/%s could not be synced, again in %.1f s: %s", *name, delay, error)


def _matters(change: Change) -> bool:
    """A status of our own making is no reason to look again."""
    before, after = change.before, change.after
    if not isinstance(before, Install) or not isinstance(after, Install):
        return True
    return (before.metadata.generation, before.metadata.uid, dict(before.metadata.annotations), before.deleting) != (
        after.metadata.generation,
        after.metadata.uid,
        dict(after.metadata.annotations),
        after.deleting,
    )
