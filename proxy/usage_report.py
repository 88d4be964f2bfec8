"""What installs and credentials are used for, in their status: last pull, refused pulls, last use.

Written at most every `seconds` and only where something happened, so that a pull storm is one write an install. It tells people
whether it is working; the audit trail is what proves.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.errors import AkuaError
from registry_access.model.resources import Install, Key, Kind, RegistryCredential
from registry_access.state.interface import StateStore

logger = logging.getLogger(__name__)


class UsageReport:
    """`observe` is told of every audited event; `run` writes what came together."""

    def __init__(self, store: StateStore, seconds: float = 15.0) -> None:
        self._store = store
        self._seconds = seconds
        self._pulled: dict[Key, int] = {}  # epoch milliseconds
        self._denied: dict[Key, int] = {}
        self._used: dict[Key, int] = {}
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        if not event.install or event.operation is Operation.ADMISSION:
            return
        install = Key(Kind.INSTALL, event.workspace, event.install)
        if outcome.result is Result.ALLOWED:
            self._pulled[install] = max(outcome.time, self._pulled.get(install, 0))
        elif outcome.result in (Result.REFUSED, Result.CUT):
            self._denied[install] = self._denied.get(install, 0) + 1
        if outcome.credential and outcome.result is Result.ALLOWED:
            credential = Key(Kind.REGISTRY_CREDENTIAL, event.workspace, outcome.credential)
            self._used[credential] = max(outcome.time, self._used.get(credential, 0))

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="usage report")

    async def stop(self) -> None:
        """Writes the rest."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.write()

    async def write(self) -> None:
        """Writes what came together since the last time; what cannot be written now is left to the next."""
        pulled, self._pulled = self._pulled, {}
        denied, self._denied = self._denied, {}
        used, self._used = self._used, {}
        for key in pulled.keys() | denied.keys():
            install = self._store.index.get(key)
            if not isinstance(install, Install):
                continue
            patch: dict[str, object] = {}
            if key in pulled:
                patch["lastPullTime"] = _time(pulled[key])
            if key in denied:
                patch["deniedPulls"] = install.status.denied_pulls + denied[key]
            if not await self._patch(key, patch):
                self._denied[key] = self._denied.get(key, 0) + denied.get(key, 0)
        for key, moment in used.items():
            if isinstance(self._store.index.get(key), RegistryCredential):
                await self._patch(key, {"lastUsedTime": _time(moment)})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.write()
            except Exception:
                logger.exception("usage could not be reported")

    async def _patch(self, key: Key, patch: dict[str, object]) -> bool:
        try:
            await self._store.patch_status(key, patch)
        except AkuaError as error:
            logger.warning("the status of %s could not be written: %s", key, error)
            return False
        return True


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
