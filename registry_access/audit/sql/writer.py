"""The one writer: everything that waits is committed together (group commit), in the order in which it came."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from sqlalchemy import desc, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from registry_access.audit.sql.tables import GENESIS, INTENT, OUTCOME, canonical, chained_hash, records
from registry_access.model.audit_event import AuditEvent, AuditOutcome, payload_of, safe_event, safe_outcome
from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
BATCH_MAXIMUM = 500
QUEUE_MAXIMUM = 100_000
COMMIT_DEADLINE = 0.9  # seconds; a pull is refused within 1 s
_RETRY_SECONDS = 0.25


@dataclass(slots=True)
class Pending:
    """A record that waits; `done` is None for an outcome, for which nobody waits."""

    kind: str
    event_id: str
    columns: dict[str, object]
    done: asyncio.Future[None] | None


class ChainWriter:
    """Appends to the chain named `writer`. A chain has exactly one live writer."""

    def __init__(self, engine: AsyncEngine, writer: str) -> None:
        self._engine = engine
        self._writer = writer
        self._queue: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._head: str | None = None
        self._stopping = False
        self.dropped = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audit writer")

    async def stop(self, deadline: float = 5.0) -> None:
        """Commits what is queued, for at most `deadline` seconds."""
        self._stopping = True
        self._wake.set()
        if self._task:
            await asyncio.wait({self._task}, timeout=deadline)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lag(self) -> int:
        return sum(1 for pending in self._queue if pending.done is None)

    async def append(self, *pending: Pending) -> None:
        """Queues records and returns when they are committed. Raises AuditUnavailable at the deadline."""
        loop = asyncio.get_running_loop()
        last = pending[-1]
        last.done = loop.create_future()
        for item in pending:
            self.enqueue(item)
        try:
            await asyncio.wait_for(last.done, COMMIT_DEADLINE)
        except TimeoutError:
            raise AuditUnavailable("the audit trail did not commit in time") from None

    def enqueue(self, pending: Pending) -> None:
        if len(self._queue) >= QUEUE_MAXIMUM:
            self.dropped += 1
            if pending.done:
                pending.done.set_exception(AuditUnavailable("the audit trail's queue is full"))
            return
        self._queue.append(pending)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAXIMUM))]
            # Whoever gave up waiting was refused: its intent must not be recorded as if it had been allowed.
            batch = [item for item in batch if item.done is None or not item.done.done()]
            try:
                async with asyncio.timeout(5):
                    await self._commit(batch)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self._head = None
                self._fail(batch, error)
                if self._stopping:
                    return
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                for item in batch:
                    if item.done and not item.done.done():
                        item.done.set_result(None)

    def _fail(self, batch: list[Pending], error: BaseException) -> None:
        problem = reason_of(error)
        logger.error("the audit trail cannot be written: %s", problem)
        for item in batch:
            if item.done and not item.done.done():
                item.done.set_exception(AuditUnavailable(f"the audit trail cannot be written: {problem}"))
        # Outcomes are kept for the next try; nobody can be told that they are lost.
        self._queue.extendleft(reversed([item for item in batch if item.done is None]))

    async def _commit(self, batch: list[Pending]) -> None:
        if not batch:
            return
        try:
            await self._insert(batch)
        except IntegrityError:
            # Some were committed by a try whose outcome we never learned (a lost COMMIT): leave those out.
            self._head = None
            async with self._engine.connect() as connection:
                fresh = await self._without_known(connection, batch)
            if fresh:
                await self._insert(fresh)

    async def _insert(self, batch: list[Pending]) -> None:
        async with self._engine.begin() as connection:
            head = self._head or await self._read_head(connection)
            rows, new_head = self._rows(batch, head)
            await connection.execute(insert(records), rows)
        self._head = new_head

    def _rows(self, batch: list[Pending], head: str) -> tuple[list[dict[str, object]], str]:
        rows = []
        for item in batch:
            payload = str(item.columns["payload"])
            digest = chained_hash(head, self._writer, item.kind, item.event_id, payload)
            rows.append(
                {
                    "writer": self._writer,
                    "kind": item.kind,
                    "event_id": item.event_id,
                    "previous_hash": head,
                    "hash": digest,
                    **_NO_FILTERS,
                    **item.columns,
                }
            )
            head = digest
        return rows, head

    async def _read_head(self, connection: AsyncConnection) -> str:
        newest = select(records.c.hash).where(records.c.writer == self._writer).order_by(desc(records.c.sequence)).limit(1)
        return (await connection.execute(newest)).scalar() or GENESIS

    async def _without_known(self, connection: AsyncConnection, batch: list[Pending]) -> list[Pending]:
        ids = [item.event_id for item in batch]
        found = await connection.execute(select(records.c.event_id, records.c.kind).where(records.c.event_id.in_(ids)))
        known = {(row.event_id, row.kind) for row in found}
        fresh = []
        for item in batch:
            if (item.event_id, item.kind) not in known:
                known.add((item.event_id, item.kind))
                fresh.append(item)
        return fresh


_NO_FILTERS: dict[str, object] = dict.fromkeys(("workspace", "install", "registry", "repository", "operation", "result"), "")


def intent(event: AuditEvent) -> Pending:
    """The record that `event` is about to happen."""
    event = safe_event(event)
    columns: dict[str, object] = {
        "time": event.time,
        "workspace": event.workspace,
        "install": event.install,
        "registry": event.registry,
        "repository": event.repository,
        "operation": str(event.operation),
        "payload": canonical(payload_of(event)),
    }
    return Pending(INTENT, event.id, columns, None)


def outcome_record(outcome: AuditOutcome) -> Pending:
    """The record of what came of it."""
    outcome = safe_outcome(outcome)
    columns: dict[str, object] = {"time": outcome.time, "result": str(outcome.result), "payload": canonical(payload_of(outcome))}
    return Pending(OUTCOME, outcome.event_id, columns, None)


def reason_of(error: BaseException) -> str:
    """A database's complaint in one line, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    if isinstance(origin, TimeoutError):
        return "the database did not answer in time"
    return str(origin).splitlines()[0][:200] if str(origin) else type(origin).__name__
