"""The audit trail on a real PostgreSQL: the conformance suite, several writers, roles, and a server that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, text

from registry_access.audit.interface import AuditQuery
from registry_access.audit.opening import PROXY_PATIENCE, open_trail
from registry_access.audit.sql import engine
from registry_access.audit.sql.copying import copy_trail
from registry_access.audit.sql.indexes import indexes_are_made
from registry_access.audit.sql.register import head_of
from registry_access.audit.sql.tables import records
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.audit.sql.writer import intent, outcome_record
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import AuditConformance, event, refused
from tests.support.postgresql import PostgreSql, postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as running:
        yield running


@pytest.fixture
async def database(server: PostgreSql) -> str:
    import asyncpg

    connection = await asyncpg.connect(server.dsn)
    await connection.execute("DROP DATABASE IF EXISTS audit WITH (FORCE)")
    await connection.execute("CREATE DATABASE audit")
    await connection.close()
    return server.dsn.replace("/postgres", "/audit")


@pytest.fixture
async def trail(database: str) -> AsyncIterator[SqlAuditTrail]:
    trail = SqlAuditTrail(database)
    await trail.start()
    yield trail
    await trail.stop()


@pytest.fixture
def reopened(database: str) -> SqlAuditTrail:
    return SqlAuditTrail(database)


class TestPostgreSqlAuditTrail(AuditConformance):
    """All of the suite."""


async def test_replicas_that_start_at_once_migrate_once_and_keep_chains_of_their_own(database: str) -> None:
    trails = [SqlAuditTrail(database, writer=f"proxy-{number}") for number in range(3)]
    await asyncio.gather(*(trail.start() for trail in trails))
    await asyncio.gather(*(trail.begin(event()) for trail in trails for _ in range(20)))
    report = await trails[0].verify()
    assert (report.ok, report.records) == (True, 60)
    assert set(await trails[0].heads()) == {"proxy-0", "proxy-1", "proxy-2"}
    for trail in trails:
        await trail.stop()


async def test_who_does_not_migrate_waits_for_who_does(database: str) -> None:
    waiting = SqlAuditTrail(database, writer="webhook", migrates=False)
    with pytest.raises(AuditUnavailable, match="do not exist yet"):
        await waiting.start()
    proxy = SqlAuditTrail(database, writer="proxy")
    await proxy.start()
    await waiting.start()
    await waiting.begin(event())
    assert set(await proxy.heads()) == {"webhook"}
    for trail in (waiting, proxy):
        await trail.stop()


async def test_the_database_itself_refuses_changes(trail: SqlAuditTrail, database: str) -> None:
    import asyncpg

    await trail.begin(event())
    connection = await asyncpg.connect(database)
    for statement in (
        "UPDATE audit_records SET install = ''",
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
        "TRUNCATE audit_records, audit_register CASCADE",
        "UPDATE audit_register SET payload = ''",
        "DELETE FROM audit_register",
        "TRUNCATE audit_register",
        "INSERT INTO audit_records SELECT * FROM audit_records ON CONFLICT (sequence) DO UPDATE SET install = ''",
    ):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(statement)
    await connection.close()


async def test_following_loses_no_record_that_commits_late(trail: SqlAuditTrail, database: str) -> None:
    """A transaction that is held takes a lower number, and commits after higher ones were read."""
    other = SqlAuditTrail(database, writer="other")
    await other.start()
    await other.record(*refused(reference="first"))
    await trail.record(*refused(reference="first"))
    rows = trail.follow(AuditQuery())
    coming = asyncio.ensure_future(anext(rows))
    await asyncio.sleep(0.4)
    writer = other._appending
    happened, came = refused(reference="late")
    async with writer._engine.begin() as held:
        pending = [intent(happened), outcome_record(came)]
        await held.execute(insert(records), writer._rows(pending, await head_of(held, "other"))[0])
        await trail.record(*refused(reference="higher"))
        assert (await asyncio.wait_for(coming, 5)).event.reference == "higher"
        late = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0.4)
    assert (await asyncio.wait_for(late, 5)).event.reference == "late"
    await other.stop()


async def test_a_commit_in_flight_at_a_crash_does_not_fork_the_chain(
    trail: SqlAuditTrail, reopened: SqlAuditTrail, database: str
) -> None:
    """It lands after the process that took over its name has read the head."""
    writer = trail._appending
    await trail.begin(event())
    await reopened.start()
    await reopened.begin(event())
    async with writer._engine.begin() as held:
        rows, _ = writer._rows([intent(event())], await head_of(held, "local"))
        await held.execute(insert(records), rows)
        blocked = asyncio.create_task(reopened.begin(event()))
        await asyncio.sleep(0.3)
        assert not blocked.done()
    await blocked
    report = await reopened.verify()
    assert (report.problem, report.records) == ("", 4)
    await reopened.stop()


async def test_a_migration_may_take_longer_than_a_pull_may_wait(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = engine._upgrade

    def slowly(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(5.5)"))
        upgrade(connection)

    monkeypatch.setattr(engine, "_upgrade", slowly)
    trail = SqlAuditTrail(database)
    await trail.start()
    await trail.begin(event())
    await trail.stop()


async def test_a_migration_gives_way_to_what_holds_a_lock_and_tries_again(database: str) -> None:
    """Waiting in the queue for a lock would make every pull behind it wait too."""
    import asyncpg

    await first_release(database)
    reader = await asyncpg.connect(database)
    transaction = reader.transaction()
    await transaction.start()
    await reader.execute("LOCK TABLE audit_records IN ACCESS SHARE MODE")
    trail = SqlAuditTrail(database)
    starting = asyncio.create_task(trail.start())
    await asyncio.sleep(1.5)
    assert not starting.done()
    writer = await asyncpg.connect(database, command_timeout=1)
    await writer.execute("SELECT count(*) FROM audit_records")
    await transaction.commit()
    await asyncio.wait_for(starting, 10)
    await trail.stop()
    await reader.close()
    await writer.close()


async def test_indexes_of_a_trail_with_records_are_made_while_it_is_written(database: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(database)
    await first_release(database)
    values = "'old', 'intent', 'evt_' || n, n, 'acme', 'shop', 'ghcr.io', 'a/b', 'pull-blob', '', '{}', '', ''"
    await connection.execute(
        "INSERT INTO audit_records (writer, kind, event_id, time, workspace, install, registry, repository, operation, result, "  # noqa: S608
        f"payload, previous_hash, hash) SELECT {values} FROM generate_series(1, 1000) n"
    )
    # As a process leaves it behind that ended in the middle.
    await connection.execute("CREATE INDEX audit_records_by_time ON audit_records (time, sequence) WHERE kind = 'intent'")
    await connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_records_by_time'::regclass")
    trail = SqlAuditTrail(database)
    await trail.start()
    await trail.begin(event())
    assert trail._writing is not None
    for _ in range(200):
        async with trail._writing.connect() as reading:
            if await indexes_are_made(reading):
                break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the indexes were not made")
    await trail.stop()
    await connection.close()


async def test_the_serving_role_can_only_add_and_read(server: PostgreSql, database: str) -> None:
    """With AKUA_AUDIT_OWNER_DSN the tables belong to another role, as docs/operations.md says."""
    import asyncpg

    administrator = await asyncpg.connect(database)
    await administrator.execute(
        "DROP ROLE IF EXISTS akua_writer; CREATE ROLE akua_writer LOGIN; "
        "GRANT USAGE ON SCHEMA public TO akua_writer; "
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO akua_writer; "
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO akua_writer"
    )
    serving = database.replace("akua@", "akua_writer@")
    trail = SqlAuditTrail(serving, owner_dsn=database)
    await trail.start()
    await trail.record(*refused())
    assert (await trail.verify()).records == 2
    await trail.stop()
    connection = await asyncpg.connect(serving)
    for statement in (
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
        "ALTER TABLE audit_records DISABLE TRIGGER ALL",
        "DROP TABLE audit_register",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()
    await administrator.execute("DROP OWNED BY akua_writer; DROP ROLE akua_writer")
    await administrator.close()


async def first_release(database: str) -> None:
    """The tables as revision 0001 makes them."""
    opened = engine.open_engine(database)

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with opened.begin() as connection:
        await connection.run_sync(upgrade)
    await opened.dispose()


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_server_that_goes_away_refuses_in_time_loses_nothing_and_recovers(
    server: PostgreSql, trail: SqlAuditTrail, kill: bool
) -> None:
    acknowledged = [event() for _ in range(10)]
    for each in acknowledged:
        await trail.begin(each)
    server.stop(kill=kill)
    with pytest.raises(AuditUnavailable):
        await asyncio.wait_for(trail.begin(event(reference="refused")), 1.5)
    server.start()
    for _ in range(100):
        try:
            await trail.begin(event(reference="recovered"))
        except AuditUnavailable:
            await asyncio.sleep(0.1)
        else:
            break
    ids = {row.event.id for row in (await trail.query(AuditQuery(limit=100))).rows}
    assert {each.id for each in acknowledged} <= ids
    assert (await trail.verify()).ok


async def test_a_server_that_is_not_there_is_said_plainly() -> None:
    with pytest.raises(AuditUnavailable, match="cannot be opened"):
        await SqlAuditTrail("postgresql://akua:canary@127.0.0.1:1/audit").start()


async def test_a_server_that_comes_later_is_waited_for(server: PostgreSql, database: str) -> None:
    server.stop()
    trail = SqlAuditTrail(database)
    with pytest.raises(AuditUnavailable):
        await open_trail(trail, 0)
    opening = asyncio.create_task(open_trail(trail, PROXY_PATIENCE))
    await asyncio.sleep(0)
    await asyncio.to_thread(server.start)
    await asyncio.wait_for(opening, 60)
    await trail.begin(event())
    assert (await trail.verify()).records == 1
    await trail.stop()


async def test_a_trail_is_taken_from_sqlite_along(database: str, tmp_path: Path) -> None:
    """E6 of the second field trial: what the first proxy wrote is listed and proven in the database that several share."""
    source = f"sqlite:///{tmp_path / 'audit.db'}"
    old = SqlAuditTrail(source, writer="akua-proxy-old")
    await old.start()
    for number in range(30):
        await old.record(*refused(reference=str(number)))
    head = (await old.verify()).head
    await old.stop()
    assert await copy_trail(source, database) == 60
    new = SqlAuditTrail(database, writer="akua-proxy-new")
    await new.start()
    await new.record(*refused(reference="new"))
    assert [row.event.reference for row in (await new.query(AuditQuery(limit=2))).rows] == ["new", "29"]
    report = await new.verify()
    assert (report.problem, report.records, report.chains) == ("", 62, 2)
    entry, _, digest = head.partition(":")
    assert await new.registered(int(entry)) == digest
    await new.stop()
