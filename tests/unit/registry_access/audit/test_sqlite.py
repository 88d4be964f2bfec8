"""The audit trail on SQLite: the conformance suite, tampering, and a database that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql import engine
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.errors import AuditUnavailable, InvalidInput
from tests.support.audit_conformance import AuditConformance, event


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
async def trail(database: Path) -> AsyncIterator[SqlAuditTrail]:
    trail = SqlAuditTrail(f"sqlite:///{database}")
    await trail.start()
    yield trail
    await trail.stop()


@pytest.fixture
def reopened(database: Path) -> SqlAuditTrail:
    return SqlAuditTrail(f"sqlite:///{database}")


class TestSqliteAuditTrail(AuditConformance):
    """All of the suite."""


def tamper(database: Path, statement: str) -> None:
    """What an administrator with the file could do, the guarding triggers removed first."""
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER audit_records_no_update")
        connection.execute("DROP TRIGGER audit_records_no_delete")
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE audit_records SET payload = replace(payload, 'shop', 'blog') WHERE sequence = 3", 3),
        ("UPDATE audit_records SET install = 'blog' WHERE sequence = 3", 3),
        ("DELETE FROM audit_records WHERE sequence = 3", 4),
        ("UPDATE audit_records SET event_id = 'evt_forged' WHERE sequence = 2", 2),
        ("UPDATE audit_records SET sequence = 99 WHERE sequence = 2", 3),
    ],
)
async def test_tampering_is_found(trail: SqlAuditTrail, database: Path, statement: str, first_bad: int) -> None:
    for _ in range(5):
        await trail.begin(event())
    tamper(database, statement)
    report = await trail.verify()
    assert report.first_bad == first_bad
    assert report.problem


async def test_the_database_itself_refuses_changes(trail: SqlAuditTrail, database: Path) -> None:
    await trail.begin(event())
    with sqlite3.connect(database) as connection:
        for statement in ("UPDATE audit_records SET install = ''", "DELETE FROM audit_records"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


async def test_a_head_kept_elsewhere_shows_what_was_cut_off(trail: SqlAuditTrail, database: Path) -> None:
    for _ in range(3):
        await trail.begin(event())
    kept = await trail.heads()
    tamper(database, "DELETE FROM audit_records WHERE sequence = 3")
    assert (await trail.verify()).ok
    assert await trail.heads() != kept


async def test_a_corrupt_file_is_said_plainly(database: Path) -> None:
    database.write_bytes(b"this is no database" * 200)
    with pytest.raises(AuditUnavailable, match="not a database"):
        await SqlAuditTrail(f"sqlite:///{database}").start()


async def test_a_reader_cannot_write_and_needs_a_trail(trail: SqlAuditTrail, database: Path, tmp_path: Path) -> None:
    await trail.begin(event())
    reader = SqlAuditTrail(f"sqlite:///{database}", read_only=True)
    await reader.start()
    assert len((await reader.query(AuditQuery())).rows) == 1
    with pytest.raises(AuditUnavailable, match="not open for writing"):
        await reader.begin(event())
    await reader.stop()
    absent = SqlAuditTrail(f"sqlite:///{tmp_path}/none.db", read_only=True)
    await absent.start()
    with pytest.raises(AuditUnavailable, match="cannot be read"):
        await absent.query(AuditQuery())
    await absent.stop()


@pytest.mark.parametrize("dsn", ["nonsense", "mysql://user:canary@host/db"])
def test_a_dsn_that_is_none_is_refused_without_being_quoted(dsn: str) -> None:
    from registry_access.audit.sql.engine import open_engine

    with pytest.raises(InvalidInput) as caught:
        open_engine(dsn)
    assert "canary" not in str(caught.value)


def test_the_newest_revision_is_the_one_that_migrations_end_at() -> None:
    """Else databases would be opened by Alembic at every start, or not be migrated at all."""
    assert ScriptDirectory(str(Path(engine.__file__).parent / "migrations")).get_current_head() == engine.NEWEST_REVISION


async def test_a_database_that_is_up_to_date_is_opened_without_alembic(
    trail: SqlAuditTrail, reopened: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_upgrade", lambda connection: pytest.fail("migrated again"))
    await reopened.start()
    await reopened.stop()
