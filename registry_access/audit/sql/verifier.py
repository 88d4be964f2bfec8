"""Proves that nothing was edited, removed, inserted or moved: the register first, then each chain by itself, then every seal.

Each chain is walked up to a head that was read before, so that a trail that is being written gives no false alarm.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy import select

from registry_access.audit.interface import VerifyReport
from registry_access.audit.sql.pages import Fetch
from registry_access.audit.sql.register import Head
from registry_access.audit.sql.tables import (
    GENESIS,
    INTENT,
    LABEL_MAXIMUM,
    LABELS,
    OPENED,
    OUTCOME,
    SEAL,
    legacy_hash,
    record_hash,
    records,
    register,
    register_hash,
)
from registry_access.model.audit_event import outcome_of, verdict_of

BATCH = 2000
_PROBLEMS_MAXIMUM = 20


class Verifier:
    """One verification. `numbered` and `unnumbered` are the heads as they were read before the register."""

    def __init__(
        self,
        fetch: Fetch,
        numbered: dict[str, Head],
        unnumbered: dict[str, Head],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._fetch = fetch
        self._numbered = numbered
        self._unnumbered = unnumbered
        self._progress = progress
        self._records = 0
        self._problems: list[tuple[int, str]] = []
        self._beginnings: dict[str, str] = {}  # writer -> hash of the entry that opened its chain
        self._register_head = (0, GENESIS)

    async def report(self) -> VerifyReport:
        await self._walk_register()
        for writer, head in self._unnumbered.items():
            await self._walk_unnumbered(writer, head)
        for writer in self._beginnings.keys() - self._numbered.keys():
            # Opened by a commit that came after the heads were read: its records are there with it.
            await self._must_have_records(writer)
        for writer, head in self._numbered.items():
            if (beginning := self._beginnings.get(writer)) is None:
                self._bad(head.sequence, f"the register does not know its chain {writer}")
                continue
            await self._walk(writer, head, beginning)
        await self._check_seals()
        number, digest = self._register_head
        chains = len(self._numbered) + len(self._unnumbered)
        newest = f"{number}:{digest}" if number else ""
        if not self._problems:
            return VerifyReport(self._records, chains=chains, head=newest)
        first, problem = self._problems[0]
        further = tuple(f"record {place}: {said}" if place else said for place, said in self._problems[1:])
        return VerifyReport(self._records, first, problem, chains=chains, head=newest, further=further)

    async def _walk_register(self) -> None:
        async for entry in self._entries():
            number, previous = self._register_head
            if entry.number != number + 1 or entry.previous_hash != previous:
                self._bad(0, f"entry {entry.number} of the register: an entry before it was removed, inserted or moved")
            elif register_hash(previous, entry.number, entry.kind, entry.writer, entry.payload) != entry.hash:
                self._bad(0, f"entry {entry.number} of the register was edited")
            self._register_head = (int(entry.number), str(entry.hash))
            if entry.kind == OPENED:
                self._beginnings[str(entry.writer)] = str(entry.hash)

    async def _walk(self, writer: str, head: Head, beginning: str) -> None:
        number, previous, place = 0, beginning, 0
        chain = (records.c.writer == writer) & records.c.number.is_not(None) & (records.c.number <= head.number)
        async for row in self._records_of(chain, records.c.number):
            problem = _order_problem(row, previous, place)
            if not problem and row.number != number + 1:
                problem = f"it is number {row.number} of {writer}, behind {number}"
            if not problem and record_hash(previous, writer, int(row.number), row._mapping) != row.hash:
                problem = "it was edited"
            problem = problem or _content_problem(row)
            if problem:
                self._bad(row.sequence, problem)
                return
            number, previous, place = int(row.number), str(row.hash), int(row.sequence)
            self._count()
        if previous != head.hash:
            self._bad(head.sequence, f"the chain {writer} does not lead to it")

    async def _walk_unnumbered(self, writer: str, head: Head) -> None:
        previous, place = GENESIS, 0
        chain = (records.c.writer == writer) & records.c.number.is_(None) & (records.c.sequence <= head.sequence)
        async for row in self._records_of(chain, records.c.sequence):
            problem = _order_problem(row, previous, place)
            if not problem and legacy_hash(previous, writer, row.kind, row.event_id, row.payload) != row.hash:
                problem = "it was edited"
            problem = problem or _content_problem(row)
            if problem:
                self._bad(row.sequence, problem)
                return
            previous, place = str(row.hash), int(row.sequence)
            self._count()

    async def _must_have_records(self, writer: str) -> None:
        first = select(records.c.sequence).where(records.c.writer == writer, records.c.number.is_not(None)).limit(1)
        if not await self._fetch(first):
            self._bad(0, f"the whole chain {writer} was removed: the register knows it, and it has no records")

    async def _check_seals(self) -> None:
        async for entry in self._entries():
            if entry.kind != SEAL:
                continue
            chains = json.loads(entry.payload)["chains"]
            places = [place for _, place, _ in chains.values()]
            found = await self._fetch(
                select(records.c.sequence, records.c.writer, records.c.number, records.c.hash).where(
                    records.c.sequence.in_(places)
                )
            )
            there = {int(row.sequence): row for row in found}
            for writer, (number, place, digest) in chains.items():
                row = there.get(place)
                if row is None or (row.writer, row.number, row.hash) != (writer, number, digest):
                    upto = f" up to number {number}" if number is not None else ""
                    self._bad(place, f"seal {entry.number} ends {writer}{upto} with it, and it was cut off or replaced")

    async def _entries(self) -> AsyncIterator[Any]:
        after: int | None = None
        while True:
            behind = [register.c.number > after] if after is not None else []
            batch = await self._fetch(select(register).where(*behind).order_by(register.c.number).limit(BATCH))
            for entry in batch:
                yield entry
            if len(batch) < BATCH:
                return
            after = batch[-1].number

    async def _records_of(self, chain: Any, order: Any) -> AsyncIterator[Any]:
        """In order; no lower bound at first, so that a record with a negative number is looked at too."""
        after: int | None = None
        while True:
            behind = [order > after] if after is not None else []
            batch = await self._fetch(select(records).where(chain, *behind).order_by(order).limit(BATCH))
            for row in batch:
                yield row
            if len(batch) < BATCH:
                return
            after = getattr(batch[-1], order.name)

    def _count(self) -> None:
        self._records += 1
        if self._progress and self._records % BATCH == 0:
            self._progress(self._records)

    def _bad(self, place: int, problem: str) -> None:
        if len(self._problems) < _PROBLEMS_MAXIMUM:
            self._problems.append((place, problem))


def _order_problem(row: Any, previous: str, place: int) -> str:
    if row.previous_hash != previous or row.sequence <= place:
        # Sequences begin at 1 and only grow within a chain: a lower or negative one was put there by hand.
        return "a record before it was removed, inserted or moved"
    return ""


def _content_problem(row: Any) -> str:
    try:
        return _columns_problem(row, json.loads(row.payload))
    except (ValueError, KeyError, TypeError):
        return "its payload is not one that we write"


def _columns_problem(row: Any, payload: dict[str, Any]) -> str:
    disagreement = "its columns do not say what its payload says"
    if row.kind == OUTCOME:
        agrees = (payload["result"], payload["event_id"], payload["time"]) == (row.result, row.event_id, row.time)
        if row.number is not None:
            agrees = agrees and verdict_of(outcome_of(payload)) == row.verdict
        return "" if agrees else disagreement
    if row.kind != INTENT:
        return f"{row.kind} is not a kind of record"
    agrees = payload["id"] == row.event_id and payload["time"] == row.time
    # The first release did not cut labels; a copy of its records into PostgreSQL does.
    agrees = agrees and all(getattr(row, name) in (payload[name], payload[name][:LABEL_MAXIMUM]) for name in LABELS)
    return "" if agrees else disagreement
