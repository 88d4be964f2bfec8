"""Opening the proxy's audit trail where it is somewhere else: a database may come up after us, as at the first apply."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
# A proxy without a trail serves nothing, and ends before its start-up probe would: what is wrong is then its last word.
PROXY_PATIENCE = 90.0
_SHORTEST, _LONGEST = 0.5, 10.0


class Opened(Protocol):
    """A trail, or what stands before it; `start` may be called again when it failed."""

    async def start(self) -> None: ...


def is_remote(dsn: str) -> bool:
    return dsn.startswith("postgres")


async def open_trail(trail: Opened, patience: float) -> None:
    """Starts `trail`, and tries again for `patience` seconds; 0: once. Raises AuditUnavailable."""
    deadline, wait = time.monotonic() + patience, _SHORTEST
    while True:
        try:
            await trail.start()
            return
        except AuditUnavailable as error:
            if time.monotonic() + wait > deadline:
                raise
            logger.warning("%s; trying again in %g s", error, wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST)
