"""Seals: once a minute, while something is written, the register names the chains that moved and where they end."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy import desc, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from registry_access.audit.sql.chains import unnumbered_heads
from registry_access.audit.sql.register import append, moved_since, newest_seals, seal_payloads
from registry_access.audit.sql.tables import SEAL, records, register
from registry_access.audit.sql.writer import ChainWriter

logger = logging.getLogger(__name__)
SEAL_SECONDS = 60.0


class Sealer:
    """Reads by `reading`, appends through `writer`. Of several processes one seals each minute; the others find it done."""

    def __init__(self, reading: AsyncEngine, writer: ChainWriter, seconds: float = SEAL_SECONDS) -> None:
        self._reading = reading
        self._writer = writer
        self._seconds = seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.seal()
            except IntegrityError:
                continue  # another process was faster
            except (SQLAlchemyError, OSError) as error:
                logger.warning("the audit trail could not be sealed; retrying: %s", type(error).__name__)

    async def seal(self) -> int:
        """Names what moved since the seal before the newest, and returns how many chains that is.

        One seal further back than needed, because a commit under way then has a lower sequence than what was sealed.
        Raises IntegrityError when another process sealed at the same moment, SQLAlchemyError, OSError.
        """
        now = time.time_ns() // 1_000_000
        async with self._reading.connect() as connection:
            seals = await newest_seals(connection)
            if seals and now - int(seals[0]["time"]) < self._seconds * 500:
                return 0
            newest = (await connection.execute(select(func.max(records.c.sequence)))).scalar() or 0
            if seals and newest <= seals[0]["until"]:
                return 0
            heads = await moved_since(connection, seals[1]["until"] if len(seals) > 1 else 0)
            if not seals:
                heads = await unnumbered_heads(connection) | heads
            number = (await connection.execute(select(register.c.number).order_by(desc(register.c.number)).limit(1))).scalar()
        async with self._writer.transaction() as writing:
            last = (await writing.execute(select(register.c.number).order_by(desc(register.c.number)).limit(1))).scalar()
            if last != number:
                return 0
            for payload in seal_payloads(heads, now, newest):
                await append(writing, SEAL, payload)
        return len(heads)
