"""The audit trail on SQLite: the conformance suite, tampering, and a database that fails."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DataError

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql import engine
from registry_access.audit.sql.engine import open_engine
from registry_access.audit.sql.sealer import Sealer
from registry_access.audit.sql.tables import GENESIS, canonical, legacy_hash
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import payload_of
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
        ("UPDATE audit_records SET sequence = -2 WHERE sequence = 2", -2),
        ("UPDATE audit_records SET number = -2 WHERE sequence = 2", 2),
        ("UPDATE audit_records SET began = 7 WHERE sequence = 4", 4),
        ("UPDATE audit_records SET verdict = 'refused' WHERE sequence = 4", 4),
        ("UPDATE audit_records SET kind = 'other' WHERE sequence = 4", 4),
        ("UPDATE audit_records SET payload = 'nonsense' WHERE sequence = 4", 4),
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
        columns = (
            "sequence, writer, kind, event_id, time, payload, previous_hash, hash, workspace, install, registry, repository, "
            "operation, result"
        )
        values = "'local', 'intent', 'evt_x', 1, '{}', '', '', '', '', '', '', '', ''"
        known = "SELECT NULL, writer, kind, event_id, time, '{}', '', '', '', '', '', '', '', '' FROM audit_records"
        for statement in (
            "UPDATE audit_records SET install = ''",
            "UPDATE OR REPLACE audit_records SET install = ''",
            "DELETE FROM audit_records",
            f"INSERT OR REPLACE INTO audit_records ({columns}) VALUES (1, {values})",  # noqa: S608
            f"REPLACE INTO audit_records ({columns}) {known}",
            f"INSERT INTO audit_records ({columns}) VALUES (1, {values}) ON CONFLICT (sequence) DO UPDATE SET install = ''",  # noqa: S608
            "UPDATE audit_register SET payload = ''",
            "DELETE FROM audit_register",
            "REPLACE INTO audit_register SELECT * FROM audit_register",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


@pytest.mark.parametrize("sequence", [-5, 0])
async def test_a_record_with_a_negative_number_is_verified_too(trail: SqlAuditTrail, database: Path, sequence: int) -> None:
    """Listed, and passed over by a walk that begins at 1: one of another writer, with a hash that is right by itself."""
    await trail.begin(event())
    forged = event(install="forged")
    payload = canonical(payload_of(forged))
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO audit_records (sequence, writer, kind, event_id, time, workspace, install, registry, repository, "
            "operation, result, payload, previous_hash, hash) VALUES (?, 'evil', 'intent', ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)",
            (
                sequence,
                forged.id,
                forged.time,
                forged.workspace,
                forged.install,
                forged.registry,
                forged.repository,
                forged.operation,
                payload,
                GENESIS,
                legacy_hash(GENESIS, "evil", "intent", forged.id, payload),
            ),
        )
    assert len((await trail.query(AuditQuery(install="forged"))).rows) == 1
    report = await trail.verify()
    assert (report.ok, report.first_bad) == (False, sequence)


async def test_a_chain_that_was_removed_whole_is_missed(trail: SqlAuditTrail, reopened: SqlAuditTrail, database: Path) -> None:
    other = SqlAuditTrail(f"sqlite:///{database}", writer="other")
    await other.start()
    await trail.begin(event())
    await other.begin(event())
    await other.stop()
    tamper(database, "DELETE FROM audit_records WHERE writer = 'other'")
    report = await trail.verify()
    assert not report.ok
    assert "the whole chain other was removed" in report.problem


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM audit_register WHERE number = 1", "entry 2 of the register"),
        ("UPDATE audit_register SET writer = 'nobody' WHERE number = 1", "entry 1 of the register was edited"),
        ("DELETE FROM audit_register", "does not know its chain"),
    ],
)
async def test_a_register_that_was_changed_is_found(trail: SqlAuditTrail, database: Path, statement: str, problem: str) -> None:
    other = SqlAuditTrail(f"sqlite:///{database}", writer="other")
    await other.start()
    await trail.begin(event())
    await other.begin(event())
    await other.stop()
    with sqlite3.connect(database) as connection:
        for action in ("update", "delete"):
            connection.execute(f"DROP TRIGGER audit_register_no_{action}")
        connection.execute(statement)
    report = await trail.verify()
    assert not report.ok
    assert problem in report.problem


async def test_records_cut_off_behind_a_seal_are_missed(trail: SqlAuditTrail, database: Path) -> None:
    for _ in range(3):
        await trail.begin(event())
    sealer = Sealer(open_engine(f"sqlite:///{database}", read_only=True), trail._appending)
    assert await sealer.seal() == 1
    assert await sealer.seal() == 0, "nothing was written since"
    assert (await trail.verify()).head.startswith("2:")
    tamper(database, "DELETE FROM audit_records WHERE sequence = 3")
    report = await trail.verify()
    assert (report.ok, report.first_bad) == (False, 3)
    assert "it was cut off or replaced" in report.problem


async def test_a_record_that_the_database_does_not_take_keeps_no_other_out(trail: SqlAuditTrail) -> None:
    appending = trail._appending
    insert = appending._insert

    async def refuse(batch: list[Any]) -> None:
        if any(item.event_id == "evt_poison" for item in batch):
            raise DataError("INSERT", {}, ValueError("value too long"))
        await insert(batch)

    appending._insert = refuse  # type: ignore[method-assign]
    poison = event(id="evt_poison")
    written = await asyncio.gather(trail.begin(event()), trail.begin(poison), trail.begin(event()), return_exceptions=True)
    assert [type(each) for each in written] == [type(None), AuditUnavailable, type(None)]
    assert appending.dropped == 1
    assert (await trail.verify()).records == 2


async def test_a_failure_is_a_problem_until_the_next_success(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trail.problem() == ""
    with monkeypatch.context() as failing:

        async def fail(batch: list[Any]) -> None:
            raise OSError("No space left on device")

        failing.setattr(trail._appending, "_insert", fail)
        with pytest.raises(AuditUnavailable, match="No space left"):
            await trail.begin(event())
        assert "No space left on device" in trail.problem()
    await trail.begin(event())
    assert trail.problem() == ""


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
