"""Reports what the sync found: in the install's status, and as Events when something changed or fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from registry_access.model.errors import NotFound
from registry_access.model.occurrence import EventReason, occurrence
from registry_access.model.resources import Install
from registry_access.model.resources.metadata import SYNCED
from registry_access.model.timestamp import rfc3339
from registry_access.state.event_recorder import Recorder
from registry_access.state.interface import StateStore
from webhook.install_sync.reports.status import Findings, status_patch

SYNC = "Sync"


class Reporting:
    """`clock` gives epoch seconds."""

    def __init__(self, store: StateStore, events: Recorder, clock: Callable[[], float]) -> None:
        self._store = store
        self._events = events
        self._clock = clock

    async def report(self, install: Install, found: Findings) -> Install:
        """Writes the status where it says something else; returns the install as it is then. Raises StateError."""
        self._record_events(install, found)
        patch = status_patch(install, found, datetime.fromtimestamp(self._clock(), UTC))
        if patch is None:
            return install
        try:
            written = await self._store.patch_status(install.key, patch)
        except NotFound:
            return install
        return written if isinstance(written, Install) else install

    def _record_events(self, install: Install, found: Findings) -> None:
        """Every failure is recorded (repeats become one Event with a count), a success only after a failure."""
        before = install.status.condition(SYNCED)
        for condition in found.conditions:
            if condition.type != SYNCED:
                continue
            if condition.status == "False":
                note = f"{condition.reason}: {condition.message}"
                self._events.record(
                    occurrence(install, EventReason.SYNC_FAILED, SYNC, note, warning=True, alike=condition.reason)
                )
            elif before is not None and before.status == "False":
                self._events.record(
                    occurrence(install, EventReason.SYNCED, SYNC, f"synced again: {condition.message or condition.reason}")
                )
        token = found.token
        if token is not None and token.fresh and install.status.token_id:
            token_id = token.claims.token_id
            note = f"{token_id}, valid until {rfc3339(token.expires)}, replaces {install.status.token_id} in its pull Secrets"
            self._events.record(occurrence(install, EventReason.TOKEN_ROTATED, SYNC, note, alike=token_id))
