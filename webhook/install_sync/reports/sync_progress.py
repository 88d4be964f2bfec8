"""The progress of one reconciliation that writes many namespaces, reported from time to time."""

from __future__ import annotations

import time

from registry_access.model.errors import StateError
from registry_access.model.resources import Condition, Install, TargetStatus
from webhook.install_sync.reports.reporting import Reporting
from webhook.install_sync.reports.status import Findings, syncing_condition

_TOLD_SECONDS = 5.0


class Progress:
    """`install` is the install as it was last written, `ready` what is said of it meanwhile."""

    def __init__(self, reporting: Reporting, install: Install, ready: Condition, total: int) -> None:
        self.install = install
        self.targets: list[TargetStatus] = []
        self.wrote = False
        self._reporting = reporting
        self._ready = ready
        self._total = total
        self._told = time.monotonic()

    def add(self, done: tuple[TargetStatus, bool]) -> None:
        """One namespace more, and whether anything was written there."""
        self.targets.append(done[0])
        self.wrote = self.wrote or done[1]

    async def report(self) -> None:
        """Into the status, every five seconds at most, and never when that is the end anyway."""
        done = len(self.targets)
        if done == self._total or time.monotonic() - self._told < _TOLD_SECONDS:
            return
        self._told = time.monotonic()
        try:
            found = Findings((self._ready, syncing_condition(self.install, done, self._total)))
            self.install = await self._reporting.report(self.install, found)
        except StateError:
            return  # the final status is written, or retried
