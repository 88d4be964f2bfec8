"""No question about the trail walks through it: every statement is answered by an index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import Result
from tests.support.audit_conformance import event, refused


@pytest.fixture
async def trail(tmp_path: Path) -> AsyncIterator[SqlAuditTrail]:
    opened = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}")
    await opened.start()
    await asyncio.gather(*(opened.record(*refused(time=1000 + number)) for number in range(20)))
    yield opened
    await opened.stop()


@pytest.fixture
def asked(trail: SqlAuditTrail) -> list[tuple[str, Any]]:
    """Every statement that is run, with its parameters."""
    seen: list[tuple[str, Any]] = []
    assert trail._engine is not None

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    sql_event.listen(trail._engine.sync_engine, "before_cursor_execute", note)
    return seen


async def plans(trail: SqlAuditTrail, asked: list[tuple[str, Any]]) -> list[str]:
    """The lines of SQLite's plans that walk through all of the records."""
    statements = list(asked)
    assert trail._engine is not None
    walks = []
    async with trail._engine.connect() as connection:
        for statement, parameters in statements:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for row in plan:
                line = str(row[-1])
                scans = line.startswith("SCAN") and any(name in line for name in ("records", "intents", "outcomes"))
                scans = scans and "ORDER BY audit_records.sequence" not in statement  # the first record, by the primary key
                # In the order of an index and up to the limit is no walk; a sort of all that fits is one.
                sorts = "TEMP B-TREE FOR ORDER" in line and "json_extract" not in statement  # a decision has few records
                if (scans and "USING" not in line) or sorts:
                    walks.append(f"{line}: {statement}")
    return walks


ONE_FILTER = [
    AuditQuery(),
    AuditQuery(workspace="acme"),
    AuditQuery(install="shop"),
    AuditQuery(workspace="acme", install="shop"),
    AuditQuery(registry="ghcr.io"),
    AuditQuery(repository="acme/app"),
    AuditQuery(operation="pull-blob"),
    AuditQuery(decision="dec_1"),
    AuditQuery(since=1005),
    AuditQuery(until=1005),
    AuditQuery(since=1005, until=1010, install="shop"),
]


@pytest.mark.parametrize("result", [None, *Result])
async def test_a_page_is_answered_by_indexes(trail: SqlAuditTrail, asked: list[tuple[str, Any]], result: Result | None) -> None:
    for query in (*ONE_FILTER, *(replace(query, before=9) for query in ONE_FILTER)):
        await trail.query(replace(query, result=result))
    assert await plans(trail, asked) == []


async def test_heads_are_found_in_steps(trail: SqlAuditTrail, asked: list[tuple[str, Any]]) -> None:
    await trail.heads()
    assert await plans(trail, asked) == []


async def test_a_page_does_not_count_and_does_not_skip(trail: SqlAuditTrail, asked: list[tuple[str, Any]]) -> None:
    await trail.begin(event())
    for query in ONE_FILTER:
        await trail.query(query)
    text = " ".join(statement for statement, _ in asked).lower()
    assert "count(" not in text
    assert all(parameters[-1] == 0 for statement, parameters in asked if statement.lower().rstrip().endswith("offset ?"))
