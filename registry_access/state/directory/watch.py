"""Watching the folder, and proving that the watch works: heartbeat files that must come back through it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import Change as FileChange
from watchfiles import awatch

from registry_access.state.directory.sidecar import MANAGED

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_FIRST_BEATS_SECONDS = 0.05  # the watch may not be in place yet
_RESCAN_SECONDS = 10.0  # finds what a watch has missed, as a relist does
_STUCK_SECONDS = 3.0
_STEP_MS, _DEBOUNCE_MS, _POLL_MS = 20, 60, 100


class FolderWatch:
    """Awaits `changed` with the paths of every batch of changes, or None when the whole folder must be looked at again.

    `staleness()` is the age, in seconds, of the newest heartbeat that came through once everything before it was taken in.
    A watch that stops bringing heartbeats is set up again; one that never brought any is replaced by polling.
    """

    def __init__(
        self, root: Path, changed: Callable[[set[Path] | None], Awaitable[None]], *, heartbeat_seconds: float, poll: bool
    ) -> None:
        self._root = root.absolute()
        self._changed = changed
        self._interval = heartbeat_seconds
        self._poll = poll
        self._prefix = f"heartbeat-{os.getpid()}-{uuid.uuid4().hex[:8]}-"
        self._beats: dict[Path, float] = {}
        self._proven = float("-inf")
        self._first_proof = asyncio.Event()
        self._watch_began = 0.0
        self._watch_works = False
        self._behind = True
        self._scanned = 0.0
        self._restart = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def staleness(self) -> float:
        return time.monotonic() - self._proven

    async def start(self, patience: float = 2 * _STUCK_SECONDS) -> None:
        """Returns with the first proof, or after `patience` seconds without (staleness stays infinite until there is one)."""
        self._first_proof = asyncio.Event()
        self._clear_old_heartbeats()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._beat())]
        try:
            await asyncio.wait_for(self._first_proof.wait(), patience)
        except TimeoutError:
            logger.warning("changes of the state folder %s are not being reported", self._root)

    async def stop(self) -> None:
        self._restart.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for path in self._beats:
            path.unlink(missing_ok=True)
        self._beats = {}

    async def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            # A name of its own for each, so that an event cannot be taken for a later heartbeat's.
            path = self._root / MANAGED / f"{self._prefix}{count}"
            try:
                path.touch()
                self._beats[path] = time.monotonic()
            except OSError as error:
                logger.warning("the heartbeat cannot be written below %s: %s", self._root, error.strerror)
            self._check_watch()
            await asyncio.sleep(self._interval if self._watch_works else _FIRST_BEATS_SECONDS)

    def _check_watch(self) -> None:
        silent = time.monotonic() - max(self._proven, self._watch_began)
        if not self._watch_began or silent < max(3 * self._interval, _STUCK_SECONDS):
            return
        if not self._watch_works and not self._poll:
            logger.warning("the file system of %s reports no changes; polling it instead", self._root)
            self._poll = True
        self._watch_began = 0.0
        self._restart.set()

    async def _follow(self) -> None:
        while True:
            self._restart.clear()
            self._behind, self._watch_works = True, False
            self._watch_began = time.monotonic()
            try:
                async for batch in awatch(
                    self._root,
                    watch_filter=None,
                    debounce=_DEBOUNCE_MS,
                    step=_STEP_MS,
                    stop_event=self._restart,
                    force_polling=self._poll,
                    poll_delay_ms=_POLL_MS,
                ):
                    await self._take(batch)
            except Exception as error:
                logger.warning("the watch of the state folder %s failed (%s); setting it up again", self._root, error)
            if not self._restart.is_set():
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, batch: set[tuple[FileChange, str]]) -> None:
        paths = {Path(path) for _, path in batch}
        beats = [path for path in self._beats if path in paths]
        whole = self._behind or (beats and time.monotonic() - self._scanned > _RESCAN_SECONDS)
        try:
            await self._changed(None if whole else {path for path in paths if not path.name.startswith("heartbeat-")})
        except Exception as error:
            logger.warning("a change of the state folder %s could not be read (%s); retrying", self._root, error)
            self._behind = True
            return
        if whole:
            self._scanned = time.monotonic()
        # The first batch may come before all folders are watched: what it missed is found with the first heartbeat.
        self._behind = self._behind and not beats
        if beats:
            self._prove(beats)

    def _prove(self, beats: list[Path]) -> None:
        newest = max(self._beats[path] for path in beats)
        self._proven = max(self._proven, newest)
        self._watch_works = True
        self._first_proof.set()
        for path in [path for path, written in self._beats.items() if written <= newest]:
            del self._beats[path]
            path.unlink(missing_ok=True)

    def _clear_old_heartbeats(self) -> None:
        """Those of processes that were killed."""
        for path in (self._root / MANAGED).glob("heartbeat-*"):
            try:
                if time.time() - path.stat().st_mtime > 60 + 10 * self._interval:
                    path.unlink(missing_ok=True)
            except OSError:
                continue
