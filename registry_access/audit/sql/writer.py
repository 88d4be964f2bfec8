"""The single writer: commits all waiting records together (group commit), in order of arrival."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from registry_access.audit.sql.register import head_of
from registry_access.audit.sql.tables import (
    INTENT,
    LABEL_MAXIMUM,
    LABELS,
    OUTCOME,
    WRITER_MAXIMUM,
    canonical,
    record_hash,
    records,
)
from registry_access.model.audit_event import AuditEvent, AuditOutcome, payload_of, safe_event, safe_outcome, verdict_of
from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
BATCH_MAXIMUM = 500
QUEUE_MAXIMUM = 100_000
COMMIT_DEADLINE = 0.9  # seconds; a pull is refused within 1 s
_RETRY_SECONDS = 0.25
_CONFLICTS_MAXIMUM = 20  # in a row; each means that another process appended first


@dataclass(slots=True)
class Pending:
    """A record in the queue; `done` is None where no caller waits for it."""

    kind: str
    event_id: str
    columns: dict[str, object]
    done: asyncio.Future[None] | None


class ChainWriter:
    """Appends to the chain named `writer`.

    A chain should have one live writer. When two share a name, the unique number of each record makes the slower one read the
    head again: they take turns, and the chain does not fork.
    """

    def __init__(self, engine: AsyncEngine, writer: str) -> None:
        self._engine = engine
        self._writer = writer[:WRITER_MAXIMUM]
        self._queue: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._head: tuple[int, str] | None = None
        self._connected = asyncio.Lock()  # SQLite has one connection that writes
        self._stopping = False
        self._failing_since: float | None = None
        self._problem = ""
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

    def problem(self) -> str:
        """Why nothing can be written now; "" if the last attempt succeeded."""
        if self._failing_since is None:
            return ""
        return f"the audit trail has not been writable for {time.monotonic() - self._failing_since:.0f} s: {self._problem}"

    def failing_milliseconds(self) -> int:
        """How long writing has been failing, in seconds; 0 if the last attempt succeeded."""
        return 0 if self._failing_since is None else int((time.monotonic() - self._failing_since) * 1000)

    def recovered(self) -> None:
        """Notes that another transaction was committed."""
        self._failing_since = None
        self._wake.set()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Runs another transaction between two batches."""
        async with self._connected, self._engine.begin() as connection:
            yield connection

    async def append(self, *pending: Pending) -> None:
        """Queues records and returns when they are committed. Raises AuditUnavailable at the deadline."""
        done = asyncio.get_running_loop().create_future()
        for item in pending:
            item.done = done
            self.enqueue(item)
        try:
            await asyncio.wait_for(done, COMMIT_DEADLINE)
        except TimeoutError:
            raise AuditUnavailable("the audit trail did not commit in time") from None

    def enqueue(self, pending: Pending) -> None:
        if len(self._queue) >= QUEUE_MAXIMUM:
            self.dropped += 1
            if pending.done and not pending.done.done():
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
            # A caller that gave up waiting was refused: its intent must not be recorded as if it had been allowed.
            batch = [item for item in batch if item.done is None or not item.done.done()]
            try:
                async with asyncio.timeout(5):
                    await self._commit(batch)
            except Exception as error:
                if not isinstance(error, SQLAlchemyError | OSError | TimeoutError):
                    logger.exception("unexpected error in the audit writer; retrying")
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
        self._note_failure(error)
        logger.error("the audit trail cannot be written: %s", self._problem)
        for item in batch:
            if item.done and not item.done.done():
                item.done.set_exception(AuditUnavailable(f"the audit trail cannot be written: {self._problem}"))
        # Outcomes are kept for the next try: no caller waits for them who could be refused.
        self._queue.extendleft(reversed([item for item in batch if item.done is None]))

    def _note_failure(self, error: BaseException) -> None:
        self._problem = reason_of(error)
        if self._failing_since is None:
            self._failing_since = time.monotonic()

    async def _commit(self, batch: list[Pending]) -> None:
        if batch:
            async with self._connected:
                try:
                    await self._insert_fresh(batch)
                except DataError:
                    await self._insert_singly(batch)
            self._failing_since = None

    async def _insert_fresh(self, batch: list[Pending]) -> None:
        fresh = batch
        for _ in range(_CONFLICTS_MAXIMUM):
            try:
                if fresh:
                    await self._insert(fresh)
            except IntegrityError:
                # Committed by a try whose outcome was lost (a lost COMMIT), or another process was faster.
                self._head = None
                async with self._engine.connect() as connection:
                    fresh = await self._without_known(connection, batch)
            else:
                return
        raise TimeoutError

    async def _insert_singly(self, batch: list[Pending]) -> None:
        """One record that the database refuses must not keep the others out, now and at every later try."""
        for item in batch:
            self._head = None
            try:
                await self._insert_fresh([item])
            except DataError as error:
                self.dropped += 1
                logger.error("record %s (%s) cannot be written: %s", item.event_id, item.kind, reason_of(error))
                if item.done and not item.done.done():
                    item.done.set_exception(AuditUnavailable("the database refuses this audit record", permanent=True))

    async def _insert(self, batch: list[Pending]) -> None:
        async with self._engine.begin() as connection:
            head = self._head or await head_of(connection, self._writer)
            rows, new_head = self._rows(batch, head)
            await connection.execute(insert(records), rows)
        self._head = new_head

    def _rows(self, batch: list[Pending], head: tuple[int, str]) -> tuple[list[dict[str, object]], tuple[int, str]]:
        rows = []
        number, previous = head
        for item in batch:
            number += 1
            values = {"kind": item.kind, "event_id": item.event_id, **item.columns}
            digest = record_hash(previous, self._writer, number, values)
            rows.append({"writer": self._writer, "number": number, "previous_hash": previous, "hash": digest, **values})
            previous = digest
        return rows, (number, previous)

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


def intent(event: AuditEvent) -> Pending:
    """The record that `event` is about to happen."""
    event = safe_event(event)
    columns: dict[str, object] = {
        "time": event.time,
        "began": None,
        **{name: str(getattr(event, name))[:LABEL_MAXIMUM] for name in LABELS},
        "result": "",
        "verdict": "",
        "payload": canonical(payload_of(event)),
    }
    return Pending(INTENT, event.id, columns, None)


def labels_of(intended: Pending) -> dict[str, object]:
    """What the outcome of an intent is filtered by; `began` is the event's time."""
    return {"began": intended.columns["time"], **{name: intended.columns[name] for name in LABELS}}


def outcome_record(outcome: AuditOutcome, labels: Mapping[str, object] | None = None) -> Pending:
    """The record of what came of it; `labels` are the intent's, None where they are not known any more."""
    outcome = safe_outcome(outcome)
    columns: dict[str, object] = {
        **(labels or {"began": outcome.time, **dict.fromkeys(LABELS, "")}),
        "time": outcome.time,
        "result": str(outcome.result),
        "verdict": verdict_of(outcome),
        "payload": canonical(payload_of(outcome)),
    }
    return Pending(OUTCOME, outcome.event_id, columns, None)


def reason_of(error: BaseException) -> str:
    """A database error in one line, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    if isinstance(origin, TimeoutError):
        return "the database did not answer in time"
    return str(origin).splitlines()[0][:200] if str(origin) else type(origin).__name__
