"""One writer at a time on a state folder, among tasks and among processes."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from registry_access.model.errors import StateUnavailable

_RETRY_SECONDS = 0.005
_PATIENCE_SECONDS = 5.0


class FolderLock:
    """An advisory lock (flock) on one file. It is asked for again and again, never waited for: the event loop goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tasks = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Raises StateUnavailable when the lock is not had within 5 s, or the file system has no locks."""
        async with self._tasks:
            try:
                file = self._path.open("a")
            except OSError as error:
                raise StateUnavailable(f"the state folder's lock {self._path} cannot be used: {error.strerror}") from error
            with file:
                await self._acquire(file.fileno())
                yield

    async def _acquire(self, descriptor: int) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    raise StateUnavailable(f"another process has held {self._path} for 5 s; find it with `fuser`") from None
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError as error:
                raise StateUnavailable(f"{self._path} cannot be locked: {error.strerror}") from error
            else:
                return
