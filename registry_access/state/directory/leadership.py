"""Leadership among the processes that share a state folder: who holds a file lock leads, and a process that dies releases it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from pathlib import Path

from registry_access.model.errors import StateUnavailable
from registry_access.state.leadership import Work

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 0.5
_PAUSE_SECONDS = 1.0


class FolderLeadership:
    """See `Leadership`. `file` is the lock's; it is made when it is not there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def lead(self, work: Work) -> None:
        """Raises StateUnavailable when the file cannot be used."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle = self._file.open("a")
        except OSError as error:
            raise StateUnavailable(f"the lock {self._file} cannot be used: {error.strerror}") from error
        with handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                except OSError as error:
                    raise StateUnavailable(f"{self._file} cannot be locked: {error.strerror}") from error
                try:
                    await work()
                except Exception:
                    logger.exception("unexpected error in the leader's work; restarting")
                finally:
                    fcntl.flock(handle, fcntl.LOCK_UN)
                await asyncio.sleep(_PAUSE_SECONDS)
