"""The audit trail on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from registry_access.audit.interface import AuditQuery, AuditRow, Page, Room, VerifyReport
from registry_access.audit.sql.chains import numbered_heads, unnumbered_heads
from registry_access.audit.sql.engine import is_migrated, make_indexes_meanwhile, migrate, open_engine
from registry_access.audit.sql.follower import Follower
from registry_access.audit.sql.pages import Pages
from registry_access.audit.sql.recovery import Recovery
from registry_access.audit.sql.room import room_of
from registry_access.audit.sql.sealer import SEAL_SECONDS, Sealer
from registry_access.audit.sql.tables import register
from registry_access.audit.sql.verifier import Verifier
from registry_access.audit.sql.writer import ChainWriter, intent, labels_of, outcome_record, reason_of
from registry_access.model.audit_event import AuditEvent, AuditOutcome
from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
_UNDER_WAY_MAXIMUM = 100_000
_INDEX_RETRY_SECONDS = 60.0
_ROOM_SECONDS = 30.0
_FULL = 1024 * 1024  # bytes; less takes no batch of records


class SqlAuditTrail:
    """`writer` names this process's chain. `read_only` opens without migrating, for commands that only look.

    With `migrates=False` it opens only once another process has brought the database to the newest revision. `owner_dsn` is the
    same database as a role that may change tables; "": `dsn` may. `capacity` is how many bytes the database may take, 0: unknown.
    """

    def __init__(
        self,
        dsn: str,
        *,
        writer: str = "local",
        read_only: bool = False,
        migrates: bool = True,
        owner_dsn: str = "",
        capacity: int = 0,
        seal_seconds: float = SEAL_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._owner_dsn = owner_dsn or dsn
        self._writer_name = writer
        self._read_only = read_only
        self._migrates = migrates
        self._capacity = capacity
        self._seal_seconds = seal_seconds
        self._room: Room | None = None
        self._engine: AsyncEngine | None = None  # reads
        self._writing: AsyncEngine | None = None
        self._writer: ChainWriter | None = None
        self._pages: Pages | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._under_way: OrderedDict[str, dict[str, object]] = OrderedDict()  # event id -> what its outcome is filtered by

    async def start(self) -> None:
        self._engine = open_engine(self._dsn, read_only=True)
        self._pages = Pages(self._fetch, self._engine.dialect.name)
        if self._read_only:
            return
        try:
            self._writing = open_engine(self._dsn)
            if self._migrates:
                await self._as_owner(migrate)
            ready = self._migrates or await is_migrated(self._writing)
        except (SQLAlchemyError, OSError) as error:
            await self.stop()
            raise AuditUnavailable(f"the audit trail cannot be opened: {reason_of(error)}") from error
        if not ready:
            await self.stop()
            raise AuditUnavailable(
                "the audit trail's tables do not exist yet, or belong to another release; the proxy creates them"
            )
        self._writer = ChainWriter(self._writing, self._writer_name)
        self._writer.start()
        sealer = Sealer(self._engine, self._writer, self._seal_seconds)
        self._chores = [
            asyncio.create_task(sealer.run(), name="audit seals"),
            asyncio.create_task(self._watch_room(), name="audit room"),
            asyncio.create_task(Recovery(self._writer).run(), name="audit recovery"),
        ]
        if self._migrates and self._writing.dialect.name == "postgresql":
            self._chores.append(asyncio.create_task(self._make_indexes(), name="audit indexes"))

    async def stop(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        self._chores = []
        if self._writer:
            await self._writer.stop()
        for engine in (self._engine, self._writing):
            if engine:
                await engine.dispose()

    async def begin(self, event: AuditEvent) -> None:
        intended = intent(event)
        await self._appending.append(intended)
        self._under_way[event.id] = labels_of(intended)
        if len(self._under_way) > _UNDER_WAY_MAXIMUM:
            self._under_way.popitem(last=False)

    def finish(self, outcome: AuditOutcome) -> None:
        self._appending.enqueue(outcome_record(outcome, self._under_way.pop(outcome.event_id, None)))

    async def record(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        intended = intent(event)
        await self._appending.append(intended, outcome_record(outcome, labels_of(intended)))

    def lag(self) -> int:
        return self._writer.lag() if self._writer else 0

    def problem(self) -> str:
        if self._writer is None:
            return "the audit trail is not open for writing"
        if self._room is not None and self._room.free is not None and self._room.free < _FULL:
            return "there is no room left for the audit trail"
        return self._writer.problem()

    def room(self) -> Room | None:
        return self._room

    async def measured(self) -> Room:
        """Measured now. Raises AuditUnavailable."""
        async with self._reading() as connection:
            return await room_of(connection, time.time_ns() // 1_000_000, self._capacity)

    async def query(self, query: AuditQuery) -> Page:
        if self._pages is None:
            raise AuditUnavailable("the audit trail is not open")
        return await self._pages.page(query)

    async def follow(self, query: AuditQuery) -> AsyncIterator[AuditRow]:
        follower = Follower(self._fetch, query)
        async with self._reading() as connection:
            await follower.begin(connection)
        async for row in follower.rows():
            yield row

    async def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        async with self._reading() as connection:
            numbered, unnumbered = await numbered_heads(connection), await unnumbered_heads(connection)
        return await Verifier(self._fetch, numbered, unnumbered, progress).report()

    async def heads(self) -> dict[str, str]:
        """The newest hash of each chain: kept elsewhere, it proves later that nothing was cut off the end."""
        async with self._reading() as connection:
            heads = await unnumbered_heads(connection) | await numbered_heads(connection)
        return {writer: head.hash for writer, head in heads.items()}

    async def registered(self, number: int) -> str:
        """The hash of entry `number` of the register; "" when there is none."""
        found = await self._fetch(select(register.c.hash).where(register.c.number == number))
        return str(found[0].hash) if found else ""

    @property
    def _appending(self) -> ChainWriter:
        if self._writer is None:
            raise AuditUnavailable("the audit trail is not open for writing")
        return self._writer

    async def _as_owner(self, work: Callable[[AsyncEngine], Any]) -> None:
        """Work that changes tables."""
        if self._writing is not None and self._owner_dsn == self._dsn:
            await work(self._writing)
            return
        engine = open_engine(self._owner_dsn)
        try:
            await work(engine)
        finally:
            await engine.dispose()

    async def _watch_room(self) -> None:
        while True:
            with suppress(AuditUnavailable):  # said by whoever writes
                self._room = await self.measured()
            await asyncio.sleep(_ROOM_SECONDS)

    async def _make_indexes(self) -> None:
        while True:
            try:
                await self._as_owner(make_indexes_meanwhile)
            except (SQLAlchemyError, OSError) as error:
                logger.warning("the audit trail's indexes could not be created; retrying: %s", reason_of(error))
            else:
                return
            await asyncio.sleep(_INDEX_RETRY_SECONDS)

    async def _fetch(self, statement: Any) -> list[Any]:
        async with self._reading() as connection:
            return list((await connection.execute(statement)).all())

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise AuditUnavailable("the audit trail is not open")
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            if not await self._is_of_this_release():
                raise AuditUnavailable(
                    "the audit trail is of an earlier release; the proxy, or `akua serve`, migrates it when it starts"
                ) from error
            raise AuditUnavailable(f"the audit trail cannot be read: {reason_of(error)}") from error

    async def _is_of_this_release(self) -> bool:
        """False only where the database says so."""
        try:
            return self._engine is None or await is_migrated(self._engine)
        except (SQLAlchemyError, OSError):
            return True
