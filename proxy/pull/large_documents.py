"""Documents that are held in memory whole, and are large: a workspace has one at a time, its others wait their turn.

Without this a workspace whose upstream lists millions of tags could fill the memory of all. Waiting costs nobody else anything.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from proxy.metrics import ProxyMetrics

LARGE = 1024 * 1024  # bytes; manifests and most lists are far smaller


class LargeDocuments:
    """One for a process."""

    def __init__(self, metrics: ProxyMetrics) -> None:
        self._metrics = metrics
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, workspace: str) -> Turn:
        lock = self._locks.get(workspace)
        if lock is None:
            lock = self._locks[workspace] = asyncio.Lock()
        return Turn(lock, self._metrics)


class Turn:
    """One pull's."""

    def __init__(self, lock: asyncio.Lock, metrics: ProxyMetrics) -> None:
        self._lock = lock
        self._metrics = metrics
        self._taken = False

    async def take(self) -> None:
        """Returns when it is this pull's turn, at once if it has it."""
        if self._taken:
            return
        if self._lock.locked():
            self._metrics.documents_waited.inc()
        await self._lock.acquire()
        self._taken = True

    def give_up(self) -> None:
        """The document is out, or will not be."""
        if self._taken:
            self._taken = False
            self._lock.release()
