"""The audit trail while its database is locked by another process: refused in time, nothing lost, nothing made up."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import event, outcome, settled


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
async def trail(database: Path) -> AsyncIterator[SqlAuditTrail]:
    trail = SqlAuditTrail(f"sqlite:///{database}")
    await trail.start()
    yield trail
    await trail.stop()


async def test_a_locked_database_refuses_within_a_second_and_recovers(trail: SqlAuditTrail, database: Path) -> None:
    locker = sqlite3.connect(database, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(AuditUnavailable, match=r"locked|in time"):
        await asyncio.wait_for(trail.begin(event()), 1.5)
    locker.execute("ROLLBACK")
    locker.close()
    await until_it_works(trail)
    assert (await trail.verify()).ok


async def until_it_works(trail: SqlAuditTrail) -> None:
    for _ in range(40):
        try:
            await trail.begin(event(reference="recovered"))
        except AuditUnavailable:
            await asyncio.sleep(0.1)
        else:
            return
    pytest.fail("it did not recover")


async def test_outcomes_survive_a_database_that_is_away_for_a_while(trail: SqlAuditTrail, database: Path) -> None:
    pulled = event()
    await trail.begin(pulled)
    locker = sqlite3.connect(database, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    trail.finish(outcome(pulled))
    await asyncio.sleep(0.8)
    assert trail.lag() >= 0
    locker.execute("ROLLBACK")
    locker.close()
    await until_it_works(trail)
    await settled(trail)
    rows = (await trail.query(AuditQuery())).rows
    assert next(row for row in rows if row.event.id == pulled.id).outcome is not None


async def test_a_refused_intent_is_not_recorded_later(trail: SqlAuditTrail, database: Path) -> None:
    locker = sqlite3.connect(database, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    refused = event(reference="refused")
    with pytest.raises(AuditUnavailable):
        await trail.begin(refused)
    locker.execute("ROLLBACK")
    locker.close()
    await until_it_works(trail)
    assert [row.event.reference for row in (await trail.query(AuditQuery())).rows] == ["recovered"]
