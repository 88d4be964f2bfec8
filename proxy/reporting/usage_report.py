"""What installs and credentials are used for, in their status: last pull, refused pulls, last use.

Written at most every `seconds` and only where something happened, so that a pull storm is one write for each install. It shows
people whether an install works; the audit trail proves it. Several proxies add to the same figures: each write is guarded by the
version that was read, and repeated when another proxy was faster.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.errors import AkuaError, Conflict, NotFound
from registry_access.model.resources import Install, Key, Kind, RegistryCredential, Resource
from registry_access.model.timestamp import rfc3339
from registry_access.state.interface import StateStore

logger = logging.getLogger(__name__)
_ATTEMPTS = 5


@dataclass(slots=True)
class _Use:
    """Since the last write. `last` is epoch milliseconds, 0 for never."""

    last: int = 0
    denied: int = 0

    def add(self, other: _Use) -> None:
        self.last = max(self.last, other.last)
        self.denied += other.denied


class UsageReport:
    """`observe` is called with every audited event; `run` writes what has accumulated."""

    def __init__(self, store: StateStore, seconds: float = 15.0) -> None:
        self._store = store
        self._seconds = seconds
        self._uses: dict[Key, _Use] = {}
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        if not event.install or event.operation is Operation.ADMISSION:
            return
        install = Key(Kind.INSTALL, event.workspace, event.install)
        if outcome.result is Result.ALLOWED:
            self._add(install, _Use(last=outcome.time))
        elif outcome.result in (Result.REFUSED, Result.CUT):
            self._add(install, _Use(denied=outcome.count))
        if outcome.credential and outcome.result is Result.ALLOWED:
            self._add(Key(Kind.REGISTRY_CREDENTIAL, event.workspace, outcome.credential), _Use(last=outcome.time))

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
        uses, self._uses = self._uses, {}
        for key, use in uses.items():
            found = self._store.index.get(key)
            if found is None:
                continue
            try:
                await self._report(found, use)
            except NotFound:
                continue
            except AkuaError as error:
                logger.warning("the status of %s could not be written, it is tried again: %s", key, error)
                self._add(key, use)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.write()
            except Exception:
                logger.exception("usage could not be reported")

    async def _report(self, found: Resource, use: _Use) -> None:
        """Raises Conflict when others are faster again and again."""
        for attempt in range(1, _ATTEMPTS + 1):
            patch = _patch(found, use)
            if not patch:
                return
            try:
                await self._store.patch_status(found.key, patch, resource_version=found.metadata.resource_version)
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
                again = await self._store.read(found.key)
                if again.metadata.uid != found.metadata.uid:
                    return  # another object of that name
                found = again
            else:
                return

    def _add(self, key: Key, use: _Use) -> None:
        self._uses.setdefault(key, _Use()).add(use)


def _patch(found: Resource, use: _Use) -> dict[str, object]:
    """What `use` changes in the status of `found`; a later time that another proxy wrote stays."""
    patch: dict[str, object] = {}
    if isinstance(found, Install):
        if later := _later(use.last, found.status.last_pull_time):
            patch["lastPullTime"] = later
        if use.denied:
            patch["deniedPulls"] = found.status.denied_pulls + use.denied
    elif isinstance(found, RegistryCredential) and (later := _later(use.last, found.status.last_used_time)):
        patch["lastUsedTime"] = later
    return patch


def _later(milliseconds: int, known: datetime | None) -> str:
    """The time as a status has it, "" unless it is later than what is known."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return rfc3339(moment) if milliseconds and (known is None or moment > known) else ""
