"""After a failure: tries to write until it succeeds, because a proxy that is not ready is sent no pull that would try.

The entry that succeeds stays in the register: it says from when to when nothing could be recorded.
"""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from registry_access.audit.sql.register import append
from registry_access.audit.sql.tables import RESUMED
from registry_access.audit.sql.writer import ChainWriter

logger = logging.getLogger(__name__)
RETRY_SECONDS = 2.0


class Recovery:
    """Watches `writer`."""

    def __init__(self, writer: ChainWriter, seconds: float = RETRY_SECONDS) -> None:
        self._writer = writer
        self._seconds = seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            if self._writer.problem():
                await self.try_now()

    async def try_now(self) -> bool:
        """Whether something could be written."""
        now = time.time_ns() // 1_000_000
        try:
            async with asyncio.timeout(5), self._writer.transaction() as connection:
                await append(connection, RESUMED, {"time": now, "failed": now - self._writer.failing_milliseconds()})
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        self._writer.recovered()
        logger.info("the audit trail is writable again")
        return True
