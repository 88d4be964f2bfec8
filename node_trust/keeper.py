"""Checks periodically and writes what changed. If the cluster cannot be read, nothing changes on the node."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from node_trust.hosts_folder import HostsFolder, Trust
from node_trust.metrics import NodeTrustMetrics
from registry_access.model.errors import AkuaError
from registry_access.runtime.keeping import keep

logger = logging.getLogger(__name__)
SECONDS = 15.0


class TrustKeeper:
    """`read` returns what the node must trust."""

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
        """For readiness: "" once the node's trust is configured. A later failure does not change that."""
        return "" if self._written else self._problem

    async def look(self) -> bool:
        """Updates the node and returns whether something was written. Raises AkuaError if reading or writing failed."""
        try:
            trust = await self._read()
            changed = self._folder.write(trust)
            for other in self._folder.remove_others():
                logger.info("removed what was written for another host", extra={"folder": str(other)})
        except AkuaError as error:
            self._telemetry.node_trust_looks.labels("failed").inc()
            self._problem = str(error)
            raise
        self._telemetry.node_trust_looks.labels("written" if changed else "unchanged").inc()
        self._written, self._problem = True, ""
        if changed:
            logger.info("containerd now pulls through %s", trust.server, extra={"folder": str(self._folder.path)})
        return changed

    async def run(self) -> None:
        """Until cancelled."""
        await keep(self._look, self._seconds, warning="this node's trust could not be updated", logger=logger)

    async def _look(self) -> Collection[str]:
        try:
            await self.look()
        except AkuaError as error:
            return {f"{error}; the files written before stay in place" if self._written else str(error)}
        return ()
