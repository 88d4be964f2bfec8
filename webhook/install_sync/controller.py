"""Keeps every install reconciled: fed by changes, each install by itself, with back-off for what fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from registry_access.model.errors import AkuaError
from registry_access.model.resources import Install, Kind, PullGrant
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.index import Change, ChangeType
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS
from webhook.install_sync.cluster import TargetCluster
from webhook.install_sync.due_names import DueNames
from webhook.install_sync.ownership import PULL_SECRET_PREFIX, Name, owner_of
from webhook.install_sync.reconciliation import Outcome

logger = logging.getLogger(__name__)
_KINDS = frozenset({Kind.INSTALL, Kind.PRODUCT, Kind.NAMESPACE, Kind.PULL_GRANT, Kind.SECRET})
_BACKOFF_FIRST, _BACKOFF_MAXIMUM = 0.5, 60.0
_RESYNC_SECONDS = 600.0
_AT_ONCE = 8  # reconciliations under way in one cluster


class Reconciles(Protocol):
    """What is done with an install that is due."""

    async def reconcile(self, workspace: str, name: str) -> Outcome: ...

    def lane(self, workspace: str, name: str) -> str: ...


class InstallSync:
    """`run` is one task; `sync` waits for an install, or for all, to have been looked at.

    Eight installs at a time in each cluster, an install never twice at once; changes that come meanwhile are looked at
    afterwards, together. Everything is looked at again every ten minutes.
    """

    def __init__(self, store: StateStore, reconciler: Reconciles, local: TargetCluster, telemetry: Telemetry) -> None:
        self._store = store
        self._reconciler = reconciler
        self._local = local
        self._telemetry = telemetry
        self._due = DueNames()
        self._failures: dict[Name, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Condition()
        self._working: dict[Name, asyncio.Task[None]] = {}
        self._again: set[Name] = set()  # changed while being worked on
        self._lanes: dict[str, asyncio.Semaphore] = {}

    async def run(self) -> None:
        """Reconciles until cancelled; returns once nothing is under way any more."""
        unsubscribe = self._store.index.subscribe(self._changed, _KINDS)
        try:
            next_resync = time.monotonic()
            while True:
                now = time.monotonic()
                if now >= next_resync:
                    self._enqueue(self._everything())
                    next_resync = now + _RESYNC_SECONDS
                self._begin_all(now)
                await self._rest(next_resync)
        finally:
            unsubscribe()
            for task in self._working.values():
                task.cancel()
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def sync(self, names: Iterable[Name] | None = None, deadline: float = 30.0) -> None:
        """Looks at `names` (None: every install) now. Raises TimeoutError at the deadline."""
        wanted = set(self._everything() if names is None else names)
        self._enqueue(wanted)
        async with asyncio.timeout(deadline), self._idle:
            await self._idle.wait_for(lambda: not (wanted & self._working.keys()) and not self._due.due(wanted, time.monotonic()))

    def _everything(self) -> set[Name]:
        """Every install, and every one that something is left of."""
        installs = {(install.workspace, install.metadata.name) for install in self._store.index.installs()}
        return installs | set(self._local.owners())

    def _changed(self, change: Change) -> None:
        space, name = change.key.namespace, change.key.name
        match change.key.kind:
            case Kind.INSTALL:
                if _matters(change):
                    self._enqueue([(space, name)])
            case Kind.PRODUCT:
                self._enqueue(self._those(lambda install: (install.workspace, install.product) == (space, name)))
            case Kind.NAMESPACE:
                self._enqueue(self._those(lambda install: any(each.namespace in (None, name) for each in install.targets)))
            case _:
                self._enqueue(self._concerned(change))

    def _concerned(self, change: Change) -> set[Name]:
        """By a change of a pull grant or a Secret: whose it is, whose way it was in, who overlaps, whose kubeconfig it is."""
        key = change.key
        if (key.namespace, key.name) == (SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS):
            return self._everything()  # tokens of a key that was burnt are replaced at once
        names = {owner for resource in (change.before, change.after) if (owner := owner_of(resource))}
        if change.type is ChangeType.DELETED:
            blocked = key.name if key.kind is Kind.PULL_GRANT else key.name.removeprefix(PULL_SECRET_PREFIX)
            names.update(self._those(lambda install: install.metadata.name == blocked))
        if key.kind is Kind.PULL_GRANT:
            names |= self._overlapping(change)
        elif not names:
            named = (key.namespace, key.name)
            names.update(self._those(lambda install: (install.workspace, install.kubeconfig_secret) == named))
        return names

    def _overlapping(self, change: Change) -> set[Name]:
        """Those whose status says, or must say, that another install's grant selects the same pods."""
        states = [item for item in (change.before, change.after) if isinstance(item, PullGrant)]
        if len(states) == 2 and states[0].pod_selector == states[1].pod_selector:
            return set()
        return {
            owner
            for grant in self._store.index.grants(change.key.namespace)
            if (owner := owner_of(grant)) and any(grant.pod_selector.may_overlap(state.pod_selector) for state in states)
        }

    def _enqueue(self, names: Iterable[Name]) -> None:
        now = time.monotonic()
        for name in names:
            self._due.add(name, now)
        self._wake.set()

    def _begin_all(self, now: float) -> None:
        while (name := self._due.take(now)) is not None:
            if name in self._working:
                self._again.add(name)
            else:
                self._working[name] = asyncio.create_task(self._look_at(name), name=f"sync of install {name[0]}/{name[1]}")

    async def _rest(self, next_resync: float) -> None:
        """Until something is due or happens."""
        self._wake.clear()
        due = self._due.next_due()
        until = next_resync if due is None else min(due, next_resync)
        with contextlib.suppress(TimeoutError):
            # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the wake-up.
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()

    async def _look_at(self, name: Name) -> None:
        lane = self._lanes.setdefault(self._reconciler.lane(*name), asyncio.Semaphore(_AT_ONCE))
        try:
            async with lane:
                outcome = await self._reconciler.reconcile(*name)
            self._settle(name, outcome)
        except AkuaError as error:
            self._retry(name, str(error))
        except Exception as error:
            logger.exception("install %s/%s could not be synced", *name)
            self._retry(name, str(error))
        finally:
            self._working.pop(name, None)
            if name in self._again:
                self._again.discard(name)
                self._due.add(name, time.monotonic())
            self._wake.set()
            async with self._idle:
                self._idle.notify_all()

    def _settle(self, name: Name, outcome: Outcome) -> None:
        if outcome.problem:
            self._retry(name, outcome.problem)
            return
        self._failures.pop(name, None)
        self._telemetry.install_syncs.labels("synced").inc()
        if outcome.again_at is not None:
            self._due.add(name, time.monotonic() + max(1.0, outcome.again_at - time.time()))

    def _retry(self, name: Name, problem: str) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        delay = min(_BACKOFF_MAXIMUM, _BACKOFF_FIRST * 2 ** min(failures - 1, 10)) * random.uniform(1, 2)  # noqa: S311 - jitter
        self._due.add(name, time.monotonic() + delay)
        self._telemetry.install_syncs.labels("failed").inc()
        logger.warning("install %s/%s could not be synced, again in %.1f s: %s", *name, delay, problem)

    def _those(self, wanted: Callable[[Install], bool]) -> list[Name]:
        return [(each.workspace, each.metadata.name) for each in self._store.index.installs() if wanted(each)]


def _matters(change: Change) -> bool:
    """A status of our own making is no reason to look again."""
    before, after = change.before, change.after
    return not isinstance(before, Install) or not isinstance(after, Install) or _asks(before) != _asks(after)


def _asks(install: Install) -> tuple[object, ...]:
    metadata = install.metadata
    return metadata.uid, metadata.generation, dict(metadata.annotations), install.deleting
