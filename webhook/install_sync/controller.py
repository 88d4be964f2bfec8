"""Keeps every install reconciled: fed by changes, each install by itself, with back-off for what fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from typing import Protocol

from registry_access.model.errors import AkuaError
from registry_access.model.resources import Key, Kind
from registry_access.runtime.backoff import Backoff
from registry_access.state.interface import StateStore
from webhook.install_sync.objects.ownership import Name
from webhook.install_sync.queue.affected_installs import WATCHED, AffectedInstalls
from webhook.install_sync.queue.due_names import DueNames
from webhook.install_sync.queue.lanes import Lanes
from webhook.install_sync.reconciliation import Outcome
from webhook.metrics import WebhookMetrics

logger = logging.getLogger(__name__)
_BACKOFF_FIRST, _BACKOFF_MAXIMUM = 0.5, 60.0
_RESYNC_SECONDS = 600.0
_TAKEN_AT_ONCE = 100
_AT_ONCE = 8  # reconciliations under way in one cluster


class Reconciles(Protocol):
    """What is done with an install that is due."""

    async def reconcile(self, workspace: str, name: str) -> Outcome: ...

    def lane(self, workspace: str, name: str) -> str: ...


class InstallSync:
    """`run` is one task; `sync` waits for an install, or for all, to have been looked at.

    Eight installs at a time in each cluster, an install never twice at once; changes that come meanwhile are looked at
    afterwards, together. Each is looked at again about ten minutes after the last time, at moments that spread by themselves.
    """

    def __init__(self, store: StateStore, reconciler: Reconciles, affected: AffectedInstalls, telemetry: WebhookMetrics) -> None:
        self._store = store
        self._reconciler = reconciler
        self._affected = affected
        self._telemetry = telemetry
        self._due = DueNames()
        self._backoffs: dict[Name, Backoff] = {}  # of those that failed last time
        self._wake = asyncio.Event()
        self._idle = asyncio.Condition()
        self._lanes = Lanes(_AT_ONCE)
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._again: set[Name] = set()  # changed while being worked on

    async def run(self) -> None:
        """Reconciles until cancelled; returns once nothing is under way any more."""
        unsubscribe = self._store.index.subscribe(lambda change: self._enqueue(self._affected(change)), WATCHED)
        try:
            self._enqueue(self._affected.everything())
            while True:
                await self._begin_all()
                await self._rest()
        finally:
            unsubscribe()
            under_way = tuple(self._tasks.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            self._lanes = Lanes(_AT_ONCE)

    async def sync(self, names: Iterable[Name] | None = None, deadline: float = 30.0) -> None:
        """Looks at `names` (None: every install) now. Raises TimeoutError at the deadline."""
        wanted = set(self._affected.everything() if names is None else names)
        self._enqueue(wanted)

        def all_seen() -> bool:
            while wanted:
                name = next(iter(wanted))
                if name in self._tasks or self._lanes.waits(name) or self._due.is_due(name, time.monotonic()):
                    return False
                wanted.discard(name)
            return True

        async with asyncio.timeout(deadline), self._idle:
            await self._idle.wait_for(all_seen)

    def _enqueue(self, names: Iterable[Name]) -> None:
        now = time.monotonic()
        for name in names:
            self._due.add(name, now)
        self._wake.set()

    async def _begin_all(self) -> None:
        """One after the other, each in a turn of the event loop of its own: pods are admitted in between."""
        now = time.monotonic()
        taken = 0
        while (name := self._due.take(now)) is not None:
            if name in self._tasks:
                self._again.add(name)
            else:
                self._lanes.enter(self._reconciler.lane(*name), name)
            taken += 1
            if taken % _TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)
        while (entered := self._lanes.take()) is not None:
            lane, name = entered
            self._tasks[name] = asyncio.create_task(self._reconcile(lane, name), name=f"sync of install {name[0]}/{name[1]}")
            await asyncio.sleep(0)

    async def _rest(self) -> None:
        """Until something is due or happens."""
        self._wake.clear()
        due = self._due.next_due()
        with contextlib.suppress(TimeoutError):
            # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the wake-up.
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._wake.wait()

    async def _reconcile(self, lane: str, name: Name) -> None:
        try:
            self._record(name, await self._reconciler.reconcile(*name))
        except AkuaError as error:
            self._retry(name, str(error))
        except Exception as error:
            logger.exception("install %s/%s could not be synced", *name)
            self._retry(name, str(error))
        finally:
            self._tasks.pop(name, None)
            self._lanes.leave(lane)
            if name in self._again:
                self._again.discard(name)
                self._due.add(name, time.monotonic())
            self._wake.set()
            async with self._idle:
                self._idle.notify_all()

    def _record(self, name: Name, outcome: Outcome) -> None:
        if outcome.problem:
            self._retry(name, outcome.problem)
            return
        self._backoffs.pop(name, None)
        self._telemetry.install_syncs.labels("synced").inc()
        if self._store.index.get(Key(Kind.INSTALL, *name)) is not None:
            # Apart from each other: what began together, at the start, must not come back together for ever.
            wait = _RESYNC_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            if outcome.again_at is not None:
                wait = min(wait, max(1.0, outcome.again_at - time.time()))
            self._due.add(name, time.monotonic() + wait)

    def _retry(self, name: Name, problem: str) -> None:
        delay = self._backoffs.setdefault(name, Backoff(_BACKOFF_FIRST, _BACKOFF_MAXIMUM)).next()
        self._due.add(name, time.monotonic() + delay)
        self._telemetry.install_syncs.labels("failed").inc()
        logger.warning("install %s/%s could not be synced, again in %.1f s: %s", *name, delay, problem)
