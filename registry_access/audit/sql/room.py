"""How large the trail is, how fast it grows, and for how many days there is room: a full trail means no pulls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from registry_access.audit.interface import Room
from registry_access.audit.sql.tables import records

DAY = 86_400_000  # milliseconds
_SHORTEST_SPAN = 3_600_000  # a trail that is younger is taken to have grown for an hour
DAYS_MAXIMUM = 9999.0


async def room_of(connection: AsyncConnection, now: int, capacity: int = 0) -> Room:
    """`now` is epoch milliseconds; `capacity` bytes that the database may take, 0 where nobody said.

    Raises SQLAlchemyError, OSError.
    """
    size, free = await _space(connection, capacity)
    newest = (await connection.execute(select(func.max(records.c.sequence)))).scalar() or 0
    condition: Any = literal_column("kind = 'intent'")
    first = select(records.c.sequence, records.c.time).where(condition, records.c.time >= now - DAY)
    oldest = (await connection.execute(first.order_by(records.c.time, records.c.sequence).limit(1))).first()
    if oldest is None or not newest:
        return Room(size, free, 0.0, DAYS_MAXIMUM if free is not None else None)
    span = max(now - int(oldest.time), _SHORTEST_SPAN)
    written = max(0, newest - int(oldest.sequence) + 1)
    growth = written * (size / newest) * DAY / span
    days = None if free is None else DAYS_MAXIMUM if growth <= 0 else min(DAYS_MAXIMUM, free / growth)
    return Room(size, free, growth, days)


async def _space(connection: AsyncConnection, capacity: int) -> tuple[int, int | None]:
    """Bytes taken, and bytes left where that is known."""
    if connection.dialect.name == "sqlite":
        path = Path((await connection.execute(text("PRAGMA database_list"))).one()[2])
        size = sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists())
        volume = os.statvfs(path.parent)
        free = volume.f_bavail * volume.f_frsize
        return size, min(free, max(0, capacity - size)) if capacity else free
    size = int((await connection.execute(text("SELECT pg_database_size(current_database())"))).scalar() or 0)
    return size, max(0, capacity - size) if capacity else None
