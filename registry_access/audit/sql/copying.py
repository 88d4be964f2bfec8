"""A trail taken to another database, SQLite to PostgreSQL for example: every record as it is, so that the chains stay provable.

Numbers, sequences and hashes are kept. The target must be empty, or hold the beginning of the very same trail: then the copy goes
on behind it, so that a long copy can be made while the source is in use and finished once it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from registry_access.audit.sql.engine import is_migrated, make_indexes_meanwhile, migrate, open_engine
from registry_access.audit.sql.tables import LABEL_MAXIMUM, LABELS, records, register
from registry_access.audit.sql.writer import reason_of
from registry_access.model.errors import AuditUnavailable, InvalidInput

BATCH = 1000


async def copy_trail(source: str, target: str, progress: Callable[[int], None] = lambda _: None) -> int:
    """Copies what `target` does not have yet, and returns how many records that is; `progress` gets that number as it grows.

    Raises InvalidInput when the target holds another trail, AuditUnavailable when one of the two cannot be read or written.
    """
    reading, writing = open_engine(source, read_only=True), open_engine(target)
    try:
        if not await is_migrated(reading):
            raise InvalidInput("is of an earlier release", field="the source", remedy="start this release on it once, then copy")
        await migrate(writing)
        # The register first: a record whose chain it does not know would look as if somebody had put it there.
        await _copy(reading, writing, register, register.c.number, lambda _: None)
        copied = await _copy(reading, writing, records, records.c.sequence, progress)
        if writing.dialect.name == "postgresql":
            async with writing.begin() as connection:
                await connection.execute(
                    text("SELECT setval('audit_records_sequence_seq', (SELECT coalesce(max(sequence), 1) FROM audit_records))")
                )
            await make_indexes_meanwhile(writing)
        return copied
    except (SQLAlchemyError, OSError) as error:
        raise AuditUnavailable(f"the audit trail cannot be copied: {reason_of(error)}") from error
    finally:
        await reading.dispose()
        await writing.dispose()


async def _copy(reading: AsyncEngine, writing: AsyncEngine, table: Table, order: Any, progress: Callable[[int], None]) -> int:
    async with reading.connect() as source, writing.connect() as target:
        after = await _common_end(source, target, table, order)
    copied = 0
    while True:
        behind = [order > after] if after is not None else []
        async with reading.connect() as source:
            batch = list((await source.execute(select(table).where(*behind).order_by(order).limit(BATCH))).mappings())
        if not batch:
            return copied
        async with writing.begin() as target:
            await target.execute(insert(table), [_fitting(dict(row)) for row in batch])
        after = batch[-1][order.name]
        copied += len(batch)
        progress(copied)


async def _common_end(source: AsyncConnection, target: AsyncConnection, table: Table, order: Any) -> int | None:
    """Where the target ends, which the source must have too; None for an empty target."""
    last = (await target.execute(select(func.max(order)))).scalar()
    if last is None:
        return None
    same = select(table.c.hash).where(order == last)
    if (await source.execute(same)).scalar() != (await target.execute(same)).scalar():
        raise InvalidInput("holds another audit trail", field="the target", remedy="copy into an empty database")
    return int(last)


def _fitting(row: dict[str, Any]) -> dict[str, Any]:
    """SQLite holds columns to no length, so records of the first release may have longer labels; their payload has all."""
    if "number" in row and "event_id" in row and row["number"] is None:
        row |= {name: row[name][:LABEL_MAXIMUM] for name in LABELS}
    return row
