"""Occurrences become few writes: series, bounds, what happens when nothing can be written."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import datetime

import pytest

from registry_access.model.errors import NotFound, StateError, StateUnavailable
from registry_access.model.occurrence import EventReason, Occurrence
from registry_access.model.resources import Key, Kind
from registry_access.state import event_recorder
from registry_access.state.event_recorder import EventRecorder, LogEvents
from tests.support.state_conformance import until


class Written:
    """Keeps what is written, unless it is to fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.failure: StateError | None = None
        self.hangs = False

    async def begin(self, occurrence: Occurrence, count: int, first: datetime, last: datetime) -> str:
        return await self._keep("begin", occurrence.note, count)

    async def repeat(self, occurrence: Occurrence, name: str, count: int, last: datetime) -> None:
        await self._keep("repeat", name, count)

    async def _keep(self, what: str, note: str, count: int) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        self.calls.append((what, note, count))
        return f"event of {note}"


class Recorded:
    """A recorder on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.written = Written()
        self.results: Counter[str] = Counter()
        self.recorder = EventRecorder(self.written, lambda result: self.results.update([result]), lambda: self.now)

    def record(self, note: str = "first", install: str = "shop", alike: str = "install-revoked") -> None:
        key = Key(Kind.INSTALL, "acme", install)
        self.recorder.record(Occurrence(key, "uid-1", True, EventReason.PULL_REFUSED, "Pull", note, alike))

    async def after(self, seconds: float) -> list[tuple[str, str, int]]:
        """What is written once so many seconds have gone by."""
        self.now += seconds
        self.written.calls.clear()
        await self.recorder.write()
        return list(self.written.calls)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


async def test_what_is_alike_is_one_event_that_counts(recorded: Recorded) -> None:
    for note in ("first", "second", "third"):
        recorded.record(note)
    recorded.record("other", alike="not-entitled")
    assert await recorded.after(0) == [("begin", "first", 3), ("begin", "other", 1)]
    recorded.record("fourth")
    assert await recorded.after(30) == [], "not more than once a minute"
    assert await recorded.after(31) == [("repeat", "event of first", 4)]
    assert await recorded.after(70) == [], "nothing new"


@pytest.mark.parametrize("pauses", [[400.0], [300.0] * 6])
async def test_a_series_ends_when_it_was_quiet_and_when_it_is_old(recorded: Recorded, pauses: list[float]) -> None:
    recorded.record("first")
    await recorded.after(0)
    for pause in pauses[:-1]:
        recorded.record("in between")
        await recorded.after(pause)
    recorded.now += pauses[-1]
    recorded.record("later")
    assert await recorded.after(0) == [("begin", "later", 1)]


async def test_the_last_repeats_of_a_series_are_told_and_then_it_is_forgotten(recorded: Recorded) -> None:
    recorded.record()
    await recorded.after(0)
    recorded.record()
    assert await recorded.after(400) == [("repeat", "event of first", 2)]
    assert not recorded.recorder._series


async def test_memory_and_writes_are_bounded(recorded: Recorded) -> None:
    for number in range(1100):
        recorded.record(install=f"install-{number}")
    assert recorded.results == {"dropped": 100}
    assert len(await recorded.after(0)) == 25
    assert len(await recorded.after(1)) == 5
    recorded.record(install="install-1")
    assert recorded.results["dropped"] == 100, "what has its place keeps it"


async def test_a_server_that_cannot_be_reached_is_asked_again_and_not_for_each(recorded: Recorded) -> None:
    recorded.written.failure = StateUnavailable("no route to host")
    for number in range(3):
        recorded.record(install=f"install-{number}")
    await recorded.after(0)
    assert recorded.results == {}
    recorded.written.failure = None
    assert len(await recorded.after(5)) == 3
    assert recorded.results == {"written": 3}


async def test_what_nobody_could_be_told_in_time_is_given_up(recorded: Recorded) -> None:
    recorded.written.failure = StateUnavailable("not allowed")
    recorded.record()
    await recorded.after(0)
    await recorded.after(400)
    assert recorded.results == {"dropped": 1}
    assert not recorded.recorder._series


async def test_a_namespace_that_is_gone_takes_its_events_with_it(recorded: Recorded) -> None:
    recorded.written.failure = NotFound("namespaces acme not found")
    recorded.record()
    await recorded.after(0)
    assert recorded.results == {"failed": 1}
    assert not recorded.recorder._series


async def test_it_writes_by_itself_and_flushes_when_it_is_stopped(recorded: Recorded) -> None:
    recorded.recorder.start()
    recorded.record()
    await until(lambda: recorded.results["written"] == 1)
    recorded.record()
    await asyncio.sleep(0)
    await recorded.recorder.stop()
    assert recorded.written.calls == [("begin", "first", 1), ("repeat", "event of first", 2)]


async def test_a_server_that_hangs_does_not_hold_up_the_shutdown(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_recorder, "_FLUSH_SECONDS", 0.05)
    recorded.written.hangs = True
    recorded.recorder.start()
    recorded.record()
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await recorded.recorder.stop()


async def test_a_bug_in_the_writer_does_not_end_it(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = ["a bug"]
    keep = recorded.written._keep

    async def failing(what: str, note: str, count: int) -> str:
        if failures:
            raise RuntimeError(failures.pop())
        return await keep(what, note, count)

    monkeypatch.setattr(recorded.written, "_keep", failing)
    monkeypatch.setattr(event_recorder, "_LOOK_SECONDS", 0.01)
    recorded.recorder.start()
    recorded.record()
    await until(lambda: recorded.results["written"] == 1)
    await recorded.recorder.stop()


async def test_without_a_cluster_it_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    recorder = EventRecorder(LogEvents())
    for warning, reason in (
        (True, EventReason.PULL_REFUSED),
        (True, EventReason.PULL_REFUSED),
        (False, EventReason.TOKEN_ROTATED),
    ):
        recorder.record(Occurrence(Key(Kind.INSTALL, "acme", "shop"), "u", warning, reason, "Pull", f"why {reason}"))
    with caplog.at_level(logging.INFO):
        await recorder.write(flush=True)
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("WARNING", "Install acme/shop: PullRefused: why PullRefused"),
        ("INFO", "Install acme/shop: TokenRotated: why TokenRotated"),
    ]
