"""What the sync found, told: the install's status, and Events where it changed or fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from registry_access.model.errors import NotFound
from registry_access.model.occurrence import occurrence
from registry_access.model.resources import Condition, Install, TargetStatus
from registry_access.model.resources.field_reader import rfc3339
from registry_access.state.event_recorder import Recorder
from registry_access.state.interface import StateStore
from webhook.install_sync.minting import InstallToken
from webhook.install_sync.status import SYNCED, status_patch

SYNC = "Sync"


class Reporting:
    """`clock` gives epoch seconds."""

    def __init__(self, store: StateStore, events: Recorder, clock: Callable[[], float]) -> None:
        self._store = store
        self._events = events
        self._clock = clock

    async def report(
        self,
        install: Install,
        conditions: Sequence[Condition],
        targets: Sequence[TargetStatus] | None = None,
        token: InstallToken | None = None,
    ) -> None:
        """Writes the status where it says something else. None: nothing new is known of it. Raises StateError."""
        self._tell(install, conditions, token)
        patch = status_patch(install, conditions, targets, token, datetime.fromtimestamp(self._clock(), UTC))
        if patch is None:
            return
        try:
            await self._store.patch_status(install.key, patch)
        except NotFound:
            return

    def _tell(self, install: Install, conditions: Sequence[Condition], token: InstallToken | None) -> None:
        """Failing is told each time, which makes one Event that counts; going well only when it did not before."""
        before = next((condition for condition in install.status.conditions if condition.type == SYNCED), None)
        for condition in conditions:
            if condition.type != SYNCED:
                continue
            if condition.status == "False":
                note = f"{condition.reason}: {condition.message}"
                self._events.record(occurrence(install, "SyncFailed", SYNC, note, warning=True, alike=condition.reason))
            elif before is not None and before.status == "False":
                self._events.record(
                    occurrence(install, "Synced", SYNC, f"in order again: {condition.message or condition.reason}")
                )
        if token is not None and token.fresh and install.status.token_id:
            token_id = token.claims.token_id
            note = f"{token_id}, valid until {rfc3339(token.expires)}, replaces {install.status.token_id} in its pull Secrets"
            self._events.record(occurrence(install, "TokenRotated", SYNC, note, alike=token_id))
