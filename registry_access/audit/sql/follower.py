"""Rows as they finish, of all writers, none left out.

Sequence numbers are taken before a commit: a later commit can have a lower number than what was read already, so one cursor over
all records loses rows. One writer commits in order, so a cursor for each writer is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import and_, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from registry_access.audit.interface import AuditQuery, AuditRow
from registry_access.audit.sql.chains import UNNUMBERED, numbered_heads, unnumbered_heads
from registry_access.audit.sql.pages import Fetch, answers, row_of
from registry_access.audit.sql.tables import INTENT, LABELS, OPENED, OUTCOME, records, register

FOLLOW_SECONDS = 0.25
_EACH_MAXIMUM = 200  # records of one writer at a time
_TOGETHER = 100  # writers in one statement; SQLite takes 500
_BUSY = 200  # writers that are asked every time, those that wrote last; the others every few seconds
_ALL_EVERY = 20
_UNNUMBERED_EVERY = 4  # a replica of the first release, which opens no chain, may begin to write during a rollout
_intents = records.alias("intents")


class Follower:
    """The state of one `follow`; `fetch` runs a statement."""

    def __init__(self, fetch: Fetch, query: AuditQuery) -> None:
        self._fetch = fetch
        self._query = query
        # (writer, whether its records have numbers) -> the last number or sequence read; those that wrote last at the end
        self._cursors: dict[tuple[str, bool], int] = {}
        self._entries = 0  # of the register, that were read

    async def begin(self, connection: AsyncConnection) -> None:
        """From now on, or behind `query.before`."""
        newest = await connection.execute(select(register.c.number).order_by(register.c.number.desc()).limit(1))
        self._entries = newest.scalar() or 0
        heads = [*(await unnumbered_heads(connection)).items(), *(await numbered_heads(connection)).items()]
        for writer, head in sorted(heads, key=lambda item: item[1].sequence):
            numbered, cursor = head.number is not None, head.sequence if head.number is None else head.number
            if self._query.before is not None and head.sequence > self._query.before:
                cursor = self._query.before
                if numbered:
                    place = (records.c.writer == writer) & records.c.number.is_not(None) & (records.c.sequence <= cursor)
                    cursor = (await connection.execute(select(func.max(records.c.number)).where(place))).scalar() or 0
            self._cursors[writer, numbered] = cursor

    async def rows(self) -> AsyncIterator[AuditRow]:
        """For ever."""
        turn = 0
        while True:
            turn += 1
            await self._find_new_writers()
            if turn % _UNNUMBERED_EVERY == 0:
                for row in await self._fetch(UNNUMBERED):
                    self._cursors.setdefault((row.writer, False), 0)
            chains = list(self._cursors)
            for first in range(0, len(chains), _TOGETHER):
                some = chains[first : first + _TOGETHER]
                if turn % _ALL_EVERY and first + _TOGETHER <= len(chains) - _BUSY:
                    continue
                for row in await self._fetch(union_all(*(self._behind(*chain) for chain in some)).order_by("place")):
                    chain = (row.writer, row.number is not None)
                    del self._cursors[chain]  # the busiest last
                    self._cursors[chain] = row.place if row.number is None else row.number
                    if (found := self._wanted(row)) is not None:
                        yield found
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _find_new_writers(self) -> None:
        opened = select(register.c.number, register.c.kind, register.c.writer).where(register.c.number > self._entries)
        for entry in await self._fetch(opened.order_by(register.c.number)):
            self._entries = entry.number
            if entry.kind == OPENED:
                self._cursors.setdefault((entry.writer, True), 0)

    def _behind(self, writer: str, numbered: bool) -> Any:
        mark = records.c.number if numbered else records.c.sequence
        some = (
            select(records.c.sequence, records.c.number, records.c.writer, records.c.event_id, records.c.payload)
            .where(
                records.c.writer == writer,
                records.c.number.is_not(None) if numbered else records.c.number.is_(None),
                mark > self._cursors[writer, numbered],
                records.c.kind == OUTCOME,
            )
            .order_by(mark)
            .limit(_EACH_MAXIMUM)
            .subquery()
        )
        join = some.join(_intents, and_(_intents.c.event_id == some.c.event_id, _intents.c.kind == INTENT))
        return select(
            _intents.c.sequence,
            _intents.c.payload,
            some.c.payload.label("outcome"),
            some.c.writer,
            some.c.number,
            some.c.sequence.label("place"),
        ).select_from(join)

    def _wanted(self, row: Any) -> AuditRow | None:
        found = row_of(row)
        if any((value := getattr(self._query, name)) and getattr(found.event, name) != value for name in LABELS):
            return None
        if self._query.decision and found.event.decision_id != self._query.decision:
            return None
        return found if answers(found.outcome, self._query.result) else None
