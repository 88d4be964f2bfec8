"""The register: one chain, shared by all processes, that names every chain of records (see tables.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import desc, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from registry_access.audit.sql.tables import GENESIS, OPENED, SEAL, canonical, records, register, register_hash

SEAL_CHAINS = 500  # named by one entry; a seal of more is several entries


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many records it has, where its last one is, and that one's hash."""

    number: int | None  # None where the records have no numbers
    sequence: int
    hash: str


async def head_of(connection: AsyncConnection, writer: str) -> tuple[int, str]:
    """The number and hash that the next record of `writer` follows; opens the chain when it is new.

    Raises IntegrityError when another process appended to the register at the same moment.
    """
    opened = select(register.c.hash).where(register.c.writer == writer, register.c.kind == OPENED)
    beginning = (await connection.execute(opened)).scalar()
    if beginning is None:
        return 0, await append(connection, OPENED, {}, writer)
    newest = (
        select(records.c.number, records.c.hash)
        .where(records.c.writer == writer, records.c.number.is_not(None))
        .order_by(desc(records.c.number))
        .limit(1)
    )
    last = (await connection.execute(newest)).first()
    return (int(last.number), str(last.hash)) if last else (0, str(beginning))


async def append(connection: AsyncConnection, kind: str, payload: Mapping[str, Any], writer: str | None = None) -> str:
    """Appends an entry and returns its hash. Raises IntegrityError when another process was faster."""
    last = (await connection.execute(select(register).order_by(desc(register.c.number)).limit(1))).first()
    number, previous = (int(last.number) + 1, str(last.hash)) if last else (1, GENESIS)
    text = canonical(payload)
    digest = register_hash(previous, number, kind, writer, text)
    entry = {"number": number, "kind": kind, "writer": writer, "payload": text, "previous_hash": previous, "hash": digest}
    await connection.execute(insert(register), [entry])
    return digest


async def newest_seals(connection: AsyncConnection) -> tuple[dict[str, Any], ...]:
    """What the two newest seals say, newest first."""
    found = select(register.c.payload).where(register.c.kind == SEAL).order_by(desc(register.c.number)).limit(2)
    return tuple(json.loads(row.payload) for row in await connection.execute(found))


async def moved_since(connection: AsyncConnection, sequence: int) -> dict[str, Head]:
    """The heads of the numbered chains that have a record behind `sequence`."""
    moved = (
        select(records.c.writer, func.max(records.c.number).label("number"))
        .where(records.c.sequence > sequence, records.c.number.is_not(None))
        .group_by(records.c.writer)
        .subquery()
    )
    found = select(records.c.writer, records.c.number, records.c.sequence, records.c.hash).join(
        moved, (records.c.writer == moved.c.writer) & (records.c.number == moved.c.number)
    )
    return {str(row.writer): Head(int(row.number), int(row.sequence), str(row.hash)) for row in await connection.execute(found)}


def seal_payloads(heads: Mapping[str, Head], time: int, until: int) -> list[dict[str, Any]]:
    """The entries that name `heads`; `until` is the newest sequence that was looked at."""
    names = sorted(heads)
    return [
        {
            "time": time,
            "until": until,
            "chains": {
                name: [heads[name].number, heads[name].sequence, heads[name].hash] for name in names[first : first + SEAL_CHAINS]
            },
        }
        for first in range(0, len(names), SEAL_CHAINS)
    ]
