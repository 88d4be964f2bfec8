"""Days before the trail is full it says so; when it is, the process is not ready, and is again when there is room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_access.audit.sql.recovery import Recovery
from registry_access.audit.sql.room import DAY, DAYS_MAXIMUM, room_of
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import event, refused

NOW = 1_800_000_000_000


@pytest.fixture
async def trail(tmp_path: Path) -> AsyncIterator[SqlAuditTrail]:
    opened = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}")
    await opened.start()
    yield opened
    await opened.stop()


def free(monkeypatch: pytest.MonkeyPatch, bytes_free: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=bytes_free, f_frsize=1))


async def test_days_left_are_what_is_free_by_what_a_day_took(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    for hours in (30, 24, 12, 0):
        await trail.record(*refused(time=NOW - hours * 3_600_000))
    free(monkeypatch, 10**9)
    async with trail._reading() as connection:
        found = await room_of(connection, NOW)
    assert found.free == 10**9
    assert found.growth == pytest.approx(found.size * 6 / 8)
    assert found.days_left == pytest.approx(10**9 / found.growth)
    async with trail._reading() as connection:
        assert (await room_of(connection, NOW + 2 * DAY)).days_left == DAYS_MAXIMUM
        bounded = await room_of(connection, NOW, capacity=found.size + 100)
        assert bounded.free == 100


async def test_a_young_trail_is_not_thought_to_have_grown_for_seconds(trail: SqlAuditTrail) -> None:
    await trail.record(*refused(time=NOW))
    async with trail._reading() as connection:
        found = await room_of(connection, NOW + 1000)
    assert found.growth == pytest.approx(found.size * 24)


async def test_no_room_is_a_problem(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trail.problem() == ""
    free(monkeypatch, 1000)
    trail._room = await trail.measured()
    assert "no room left" in trail.problem()


async def test_it_recovers_without_a_pull_and_says_for_how_long_it_failed(
    trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = trail._appending
    recovery = Recovery(writer)
    with monkeypatch.context() as failing:

        async def fail(_: Any) -> None:
            raise OSError("No space left on device")

        failing.setattr(writer, "_insert", fail)
        with pytest.raises(AuditUnavailable):
            await trail.begin(event())
    assert trail.problem()
    assert await recovery.try_now()
    assert trail.problem() == ""
    assert (await trail.verify()).ok
