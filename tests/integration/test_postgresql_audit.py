"""The audit trail on a real PostgreSQL: the conformance suite, two writers, and a server that dies (faults 13 and 14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from registry_access.audit.interface import AuditQuery
from registry_access.audit.opening import PROXY_PATIENCE, open_trail
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import AuditConformance, event
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
    with pytest.raises(AuditUnavailable, match="not made yet"):
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
    for statement in ("UPDATE audit_records SET install = ''", "DELETE FROM audit_records"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(statement)
    await connection.close()


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
