"""Opens a remote audit trail for the proxy. The database may start after us, for example at the first apply."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
# A proxy without a trail serves nothing. It exits before its start-up probe fails, so that its last log line is the cause.
PROXY_PATIENCE = 90.0
_SHORTEST, _LONGEST = 0.5, 10.0


class Opened(Protocol):
    """A trail or a wrapper of one. `start` may be called again after a failure."""

    async def start(self) -> None: ...


def is_remote(dsn: str) -> bool:
    return dsn.startswith("postgres")


async def open_trail(trail: Opened, patience: float) -> None:
    """Starts `trail`, retrying for `patience` seconds; 0 means a single attempt. Raises AuditUnavailable."""
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
