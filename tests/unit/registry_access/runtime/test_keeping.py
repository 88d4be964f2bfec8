"""The loop that looks after things: it says a problem once, comes back sooner after a failure, and never ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from registry_access.model.errors import StateUnavailable
from registry_access.runtime.keeping import keep

logger = logging.getLogger("keeping")


class Clock:
    """Sleeps without time: each sleep lasts until it is let go, and is noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._due: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._due.append(asyncio.get_running_loop().create_future())
        await self._due[-1]

    async def on(self) -> None:
        """Lets every sleeper wake, and everything happen that follows from it."""
        due, self._due = self._due, []
        for future in due:
            if not future.done():
                future.set_result(None)
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def keeping(
    look: Callable[[], object], every: float = 100, wake: asyncio.Event | None = None
) -> AsyncIterator[tuple[Clock, asyncio.Task[None]]]:
    clock = Clock()

    async def asked() -> Collection[str] | None:
        answer = look()
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    task = asyncio.create_task(keep(asked, every, wake, warning="it fails", logger=logger, sleep=clock.sleep))
    await settled()
    yield clock, task
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_it_looks_again_after_a_while_that_differs() -> None:
    looks: list[None] = []
    async with keeping(lambda: looks.append(None)) as (clock, _):
        for _ in range(20):
            await clock.on()
    assert len(looks) == 21
    assert all(80 <= seconds <= 120 for seconds in clock.slept)
    assert len(set(clock.slept)) > 10


async def test_it_looks_at_once_when_woken() -> None:
    wake = asyncio.Event()
    looks: list[None] = []
    async with keeping(lambda: looks.append(None), wake=wake):
        assert len(looks) == 1
        wake.set()
        await settled()
        assert len(looks) == 2


async def test_what_wakes_it_while_it_looks_is_not_lost() -> None:
    wake = asyncio.Event()
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        if len(looks) == 1:
            wake.set()

    async with keeping(look, wake=wake):
        assert len(looks) == 2


async def test_a_problem_is_said_once_and_again_when_it_came_back(caplog: pytest.LogCaptureFixture) -> None:
    gone = StateUnavailable("gone")
    answers = iter([gone, gone, None, gone, {"a", "b"}, {"b", "c"}, ()])
    async with keeping(lambda: next(answers, None)) as (clock, _):
        for _ in range(20):
            await clock.on()
    assert warnings(caplog) == [f"it fails; trying again: {problem}" for problem in ("gone", "gone", "a", "b", "c")]


async def test_failures_are_tried_again_sooner_and_later_each_time_and_a_wake_does_not_make_it_spin() -> None:
    wake = asyncio.Event()

    def look() -> object:
        wake.set()  # as one does that writes something that it watches, and then fails
        return StateUnavailable("gone")

    async with keeping(look, wake=wake) as (clock, _):
        for _ in range(12):
            await clock.on()
        pauses = [seconds for seconds in clock.slept if seconds == 1.0]
        rests = [seconds for seconds in clock.slept if seconds != 1.0]
        assert len(pauses) >= 10
        assert rests[0] <= 1 < rests[3] < rests[-1] <= 120


async def test_a_short_interval_is_not_made_longer_by_a_failure() -> None:
    async with keeping(lambda: StateUnavailable("gone"), every=0.01) as (clock, _):
        for _ in range(10):
            await clock.on()
    assert max(clock.slept) <= 0.02


async def test_a_bug_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[None] = []

    def look() -> object:
        looks.append(None)
        return ZeroDivisionError("oh") if len(looks) == 1 else None

    async with keeping(look) as (clock, _):
        for _ in range(3):
            await clock.on()
        assert len(looks) > 1
    assert "ZeroDivisionError" in caplog.text
