"""Occurrences become Events of the objects that they are about: a few writes, however often something happens.

Nothing waits for it. What is alike becomes one series, written when it begins and then at most once a minute; a series that was
quiet for six minutes, or is half an hour old, ends, so that the next occurrence is told in full again. Series and writes are
bounded; what finds no room is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from registry_access.model.budget import Budget
from registry_access.model.errors import AkuaError, StateUnavailable
from registry_access.model.occurrence import Occurrence

logger = logging.getLogger(__name__)
_SERIES_MAXIMUM = 1000
_SERIES_OF_ONE_MAXIMUM = 25  # of one object: what is more is folded by reason alone, and leaves room for others
_REPEAT_SECONDS = 60.0
_QUIET_SECONDS = 360.0
_OLD_SECONDS = 1800.0
_LOOK_SECONDS = 5.0
_FLUSH_SECONDS = 2.0
_PER_SECOND, _AT_ONCE = 5.0, 25.0  # writes, as client-go's event broadcaster has it


class Recorder(Protocol):
    """Where occurrences are told."""

    def record(self, occurrence: Occurrence) -> None:
        """Never blocks and never fails."""
        ...


class EventWriter(Protocol):
    """Where Events are kept. Both raise StateError."""

    async def begin(self, occurrence: Occurrence, count: int, first: datetime, last: datetime) -> str:
        """Writes a series that has happened `count` times; returns what it is called from now on."""
        ...

    async def repeat(self, occurrence: Occurrence, name: str, count: int, last: datetime) -> None: ...


class LogEvents:
    """For a state that keeps no Events: one log line when a series begins."""

    async def begin(self, occurrence: Occurrence, count: int, first: datetime, last: datetime) -> str:
        level = logging.WARNING if occurrence.warning else logging.INFO
        logger.log(level, "%s: %s: %s", occurrence.regarding, occurrence.reason, occurrence.note)
        return "logged"

    async def repeat(self, occurrence: Occurrence, name: str, count: int, last: datetime) -> None:
        return


@dataclass(slots=True)
class _Series:
    """`began`, `happened` and `written` are monotonic. `name`: "" until it was written, `told` the count as written."""

    occurrence: Occurrence
    first: datetime
    last: datetime
    began: float
    happened: float
    count: int = 1
    told: int = 0
    name: str = ""
    written: float = 0.0


@dataclass(slots=True)
class EventRecorder:
    """`observe` is told what became of each: written, dropped or failed. `clock` is monotonic, in seconds."""

    writer: EventWriter
    observe: Callable[[str], None] = lambda result: None
    clock: Callable[[], float] = time.monotonic
    _series: dict[tuple[object, ...], _Series] = field(default_factory=dict)
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _budget: Budget = field(init=False)
    _problem: str = ""  # why nothing can be written now
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._budget = Budget(_PER_SECOND, _AT_ONCE, self.clock)

    def record(self, occurrence: Occurrence) -> None:
        now, moment = self.clock(), datetime.now(UTC)
        occurrence = self._folded(occurrence)
        known = self._series.get(occurrence.series)
        if known is not None and now - known.began < _OLD_SECONDS and now - known.happened < _QUIET_SECONDS:
            known.count += 1
            known.happened, known.last = now, moment
        elif known is None and len(self._series) >= _SERIES_MAXIMUM:
            self.observe("dropped")
        else:
            self._series[occurrence.series] = _Series(occurrence, moment, moment, now, now)
            self._new.set()

    def _folded(self, occurrence: Occurrence) -> Occurrence:
        if occurrence.series in self._series or len(self._series) < _SERIES_OF_ONE_MAXIMUM:
            return occurrence
        of_one = sum(1 for series in self._series.values() if series.occurrence.uid == occurrence.uid)
        return replace(occurrence, alike="") if of_one >= _SERIES_OF_ONE_MAXIMUM else occurrence

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="events")

    async def stop(self) -> None:
        """Writes what is new, for two seconds at most."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._budget = Budget(0, _SERIES_MAXIMUM, self.clock)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self.write(flush=True)

    async def write(self, *, flush: bool = False) -> None:
        """Writes what is due, as far as the budget goes; with `flush`, repeats that are not due yet too."""
        now = self.clock()
        for key, series in list(self._series.items()):
            over = now - series.happened >= _QUIET_SECONDS or now - series.began >= _OLD_SECONDS
            if over and not series.name:
                self.observe("dropped")  # nobody could be told in time
                self._forget(key, series)
                continue
            due = not series.name or flush or over or now - series.written >= _REPEAT_SECONDS
            going_on = not due or series.count == series.told or await self._write(key, series)
            if over:
                self._forget(key, series)
            if not going_on:
                return

    async def _run(self) -> None:
        while True:
            self._new.clear()
            try:
                await self.write()
            except Exception:
                logger.exception("events could not be written")
            waiting = any(not series.name for series in self._series.values())
            if self._problem or not waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await (asyncio.sleep(_LOOK_SECONDS) if self._problem else self._new.wait())
            else:
                await asyncio.sleep(1 / _PER_SECOND)  # the budget is used up

    async def _write(self, key: tuple[object, ...], series: _Series) -> bool:
        """False when nothing more can be written now."""
        if not self._budget.take():
            return False
        count = series.count
        try:
            if series.name:
                await self.writer.repeat(series.occurrence, series.name, count, series.last)
            else:
                series.name = await self.writer.begin(series.occurrence, count, series.first, series.last)
        except AkuaError as error:
            return self._failed(key, series, error)
        series.told, series.written, self._problem = count, self.clock(), ""
        self.observe("written")
        return True

    def _failed(self, key: tuple[object, ...], series: _Series, error: AkuaError) -> bool:
        """A server that cannot be reached is asked again; a namespace or an Event that is gone is not."""
        if isinstance(error, StateUnavailable):
            if str(error) != self._problem:
                logger.warning("events cannot be written: %s", error)
            self._problem = str(error)
            return False
        logger.info("an event of %s could not be written: %s", series.occurrence.regarding, error)
        self.observe("failed")
        self._forget(key, series)
        return True

    def _forget(self, key: tuple[object, ...], series: _Series) -> None:
        if self._series.get(key) is series:
            del self._series[key]
