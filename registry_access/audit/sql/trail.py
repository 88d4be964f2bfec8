"""The audit trail on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, desc, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from registry_access.audit.interface import AuditQuery, AuditRow, Page, VerifyReport
from registry_access.audit.sql.engine import is_migrated, migrate, open_engine
from registry_access.audit.sql.tables import GENESIS, INTENT, OUTCOME, chained_hash, records
from registry_access.audit.sql.writer import ChainWriter, intent, outcome_record, reason_of
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.errors import AuditUnavailable

_FOLLOW_SECONDS = 0.25
_VERIFY_BATCH = 2000


class SqlAuditTrail:
    """`writer` names this process's chain. `read_only` opens without migrating, for commands that only look.

    With `migrates=False` it opens only once another process has brought the database to the newest revision.
    """

    def __init__(self, dsn: str, *, writer: str = "local", read_only: bool = False, migrates: bool = True) -> None:
        self._dsn = dsn
        self._writer_name = writer
        self._read_only = read_only
        self._migrates = migrates
        self._engine: AsyncEngine | None = None  # reads
        self._writing: AsyncEngine | None = None
        self._writer: ChainWriter | None = None

    async def start(self) -> None:
        self._engine = open_engine(self._dsn, read_only=True)
        if self._read_only:
            return
        try:
            self._writing = open_engine(self._dsn)
            if self._migrates:
                await migrate(self._writing)
            ready = self._migrates or await is_migrated(self._writing)
        except (SQLAlchemyError, OSError) as error:
            await self.stop()
            raise AuditUnavailable(f"the audit trail cannot be opened: {reason_of(error)}") from error
        if not ready:
            await self.stop()
            raise AuditUnavailable("the audit trail's tables are not made yet, or of another release; the proxy makes them")
        self._writer = ChainWriter(self._writing, self._writer_name)
        self._writer.start()

    async def stop(self) -> None:
        if self._writer:
            await self._writer.stop()
        for engine in (self._engine, self._writing):
            if engine:
                await engine.dispose()

    async def begin(self, event: AuditEvent) -> None:
        await self._appending.append(intent(event))

    def finish(self, outcome: AuditOutcome) -> None:
        self._appending.enqueue(outcome_record(outcome))

    async def record(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        await self._appending.append(intent(event), outcome_record(outcome))

    def lag(self) -> int:
        return self._writer.lag() if self._writer else 0

    async def query(self, query: AuditQuery) -> Page:
        limit = min(max(query.limit, 1), 1000)
        rows = await self._rows(query, ascending=False, limit=limit + 1)
        return Page(tuple(rows[:limit]), rows[limit - 1].sequence if len(rows) > limit else None)

    async def follow(self, query: AuditQuery) -> AsyncIterator[AuditRow]:
        after = query.before if query.before is not None else await self._newest()
        waiting: set[int] = set()
        while True:
            for row in await self._rows(replace(query, before=None), ascending=True, limit=1000, after=after):
                after = max(after, row.sequence)
                if row.outcome is None:
                    waiting.add(row.sequence)
                else:
                    yield row
            for row in await self._at(waiting):
                if row.outcome is not None:
                    waiting.discard(row.sequence)
                    if query.result in (None, row.outcome.result):
                        yield row
            await asyncio.sleep(_FOLLOW_SECONDS)

    async def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        heads: dict[str, str] = {}
        checked, after = 0, -1
        while True:
            statement = select(records).where(records.c.sequence > after).order_by(records.c.sequence).limit(_VERIFY_BATCH)
            batch = await self._fetch(statement)
            if not batch:
                return VerifyReport(checked)
            for row in batch:
                head = heads.get(row.writer, GENESIS)
                if row.previous_hash != head:
                    return VerifyReport(checked, row.sequence, "a record before it was removed, inserted or moved")
                if chained_hash(head, row.writer, row.kind, row.event_id, row.payload) != row.hash:
                    return VerifyReport(checked, row.sequence, "it was edited")
                if _columns_disagree(row):
                    return VerifyReport(checked, row.sequence, "its columns do not say what its payload says")
                heads[row.writer] = row.hash
                checked, after = checked + 1, row.sequence
            if progress:
                progress(checked)

    async def heads(self) -> dict[str, str]:
        """The newest hash of each chain: kept elsewhere, it proves later that nothing was cut off the end."""
        newest: dict[str, str] = {}
        for row in await self._fetch(select(records.c.writer).distinct()):
            statement = select(records.c.hash).where(records.c.writer == row.writer).order_by(desc(records.c.sequence)).limit(1)
            newest[row.writer] = (await self._fetch(statement))[0].hash
        return newest

    @property
    def _appending(self) -> ChainWriter:
        if self._writer is None:
            raise AuditUnavailable("the audit trail is not open for writing")
        return self._writer

    async def _newest(self) -> int:
        rows = await self._fetch(select(records.c.sequence).order_by(desc(records.c.sequence)).limit(1))
        return int(rows[0].sequence) if rows else 0

    async def _at(self, sequences: set[int]) -> list[AuditRow]:
        if not sequences:
            return []
        condition = records.c.sequence.in_(sorted(sequences)[:500])
        return [_row(row) for row in await self._fetch(_joined().where(condition).order_by(records.c.sequence))]

    async def _rows(self, query: AuditQuery, *, ascending: bool, limit: int, after: int | None = None) -> list[AuditRow]:
        statement = _joined()
        for name in ("workspace", "install", "registry", "repository", "operation"):
            if value := getattr(query, name):
                statement = statement.where(records.c[name] == value)
        if query.decision:
            # Canonical JSON has its names and values just so; ids are not indexed, a person looks for one now and then.
            said = f'"decision_id":{json.dumps(query.decision)}'
            statement = statement.where(records.c.payload.contains(said, autoescape=True))
        if query.result and not ascending:
            statement = statement.where(_outcomes.c.result == str(query.result))
        for column, compare, bound in (
            (records.c.time, operator.ge, query.since),
            (records.c.time, operator.lt, query.until),
            (records.c.sequence, operator.lt, query.before),
            (records.c.sequence, operator.gt, after),
        ):
            if bound is not None:
                statement = statement.where(compare(column, bound))
        order = records.c.sequence if ascending else desc(records.c.sequence)
        return [
            row
            for row in (_row(found) for found in await self._fetch(statement.order_by(order).limit(limit)))
            if not ascending or query.result is None or row.outcome is None or row.outcome.result is query.result
        ]

    async def _fetch(self, statement: Any) -> list[Any]:
        if self._engine is None:
            raise AuditUnavailable("the audit trail is not open")
        try:
            async with self._engine.connect() as connection:
                return list((await connection.execute(statement)).all())
        except (SQLAlchemyError, OSError) as error:
            raise AuditUnavailable(f"the audit trail cannot be read: {reason_of(error)}") from error


_outcomes = records.alias("outcomes")


def _joined() -> Any:
    join = records.outerjoin(_outcomes, and_(_outcomes.c.event_id == records.c.event_id, _outcomes.c.kind == OUTCOME))
    return (
        select(records.c.sequence, records.c.payload, _outcomes.c.payload.label("outcome"))
        .select_from(join)
        .where(records.c.kind == INTENT)
    )


def _row(row: Any) -> AuditRow:
    event, outcome = json.loads(row.payload), json.loads(row.outcome) if row.outcome else None
    event["operation"] = Operation(event["operation"])
    if outcome:
        outcome["result"] = Result(outcome["result"])
    return AuditRow(row.sequence, AuditEvent(**event), AuditOutcome(**outcome) if outcome else None)


def _columns_disagree(row: Any) -> bool:
    payload = json.loads(row.payload)
    if row.kind == OUTCOME:
        return bool(payload["result"] != row.result or payload["event_id"] != row.event_id or payload["time"] != row.time)
    names = ("time", "workspace", "install", "registry", "repository", "operation")
    return any(payload[name] != getattr(row, name) for name in names) or payload["id"] != row.event_id
