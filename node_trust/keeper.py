"""Looks again and again, and writes what is different. What cannot be read changes nothing on the node."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from node_trust.hosts_folder import HostsFolder, Trust
from node_trust.metrics import NodeTrustMetrics
from registry_access.model.errors import AkuaError

logger = logging.getLogger(__name__)
SECONDS = 15.0
_JITTER = 0.2  # so that the nodes of a large cluster do not all ask at once


class TrustKeeper:
    """`read` gives what the node is to trust."""

    def __init__(
        self, read: Callable[[], Awaitable[Trust]], folder: HostsFolder, telemetry: NodeTrustMetrics, seconds: float = SECONDS
    ) -> None:
        self._read = read
        self._folder = folder
        self._telemetry = telemetry
        self._seconds = seconds
        self._written = False
        self._problem = "nothing has been read yet"

    def failure(self) -> str:
        """For readiness: "" once the node has what it is to trust. A later failure leaves that as it is."""
        return "" if self._written else self._problem

    async def look(self) -> bool:
        """Whether something had to be written. Raises AkuaError when it could not be read or written."""
        try:
            trust = await self._read()
            changed = self._folder.write(trust)
            for other in self._folder.remove_others():
                logger.info("what was written for another host is gone", extra={"folder": str(other)})
        except AkuaError as error:
            self._telemetry.node_trust_looks.labels("failed").inc()
            self._problem = str(error)
            raise
        self._telemetry.node_trust_looks.labels("written" if changed else "unchanged").inc()
        self._written, self._problem = True, ""
        if changed:
            logger.info("containerd now asks %s", trust.server, extra={"folder": str(self._folder.path)})
        return changed

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        warned = ""
        while True:
            try:
                await self.look()
                warned = ""
            except AkuaError as error:
                if str(error) != warned:  # once, not every 15 s for as long as it lasts
                    kept = "; what was written before stays" if self._written else ""
                    logger.warning("this node's trust could not be looked after: %s%s", error, kept)
                    warned = str(error)
            await asyncio.sleep(self._seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - spreads load, no secret
