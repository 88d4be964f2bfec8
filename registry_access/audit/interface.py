"""The audit trail as the proxy, the webhook and the command line use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from registry_access.model.audit_event import AuditEvent, AuditOutcome, Result


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An event with its outcome. The outcome is None while the event is in progress, and stays None if the process died."""

    sequence: int
    event: AuditEvent
    outcome: AuditOutcome | None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Selects rows, newest first. `since` and `until` are epoch milliseconds; "" and None do not filter.

    `result` REFUSED also finds refusals by the upstream, which are recorded as FAILED: to the user both are refusals.
    """

    workspace: str = ""
    install: str = ""
    registry: str = ""
    repository: str = ""
    operation: str = ""
    decision: str = ""  # a decision id
    result: Result | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 50  # 1-1000
    before: int | None = None  # a cursor: `next_before` of the page before


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[AuditRow, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`records` counts what was checked, in `chains`; `head` is the register's, ``NUMBER:HASH``, "" before its first entry.

    `first_bad` is the sequence of a record that does not fit; 0 when the fault is not a record's. `further` names other faults.
    """

    records: int
    first_bad: int | None = None
    problem: str = ""
    chains: int = 0
    head: str = ""
    further: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.first_bad is None


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes used, bytes left, growth in bytes per day, and days until the space runs out. None means unknown."""

    size: int
    free: int | None
    growth: float
    days_left: float | None


class AuditTrail(Protocol):
    """One suite, tests/support/audit_conformance.py, holds every adapter to this."""

    async def start(self) -> None:
        """Migrates and opens. Raises AuditUnavailable."""
        ...

    async def stop(self) -> None:
        """Writes the queued records."""
        ...

    async def begin(self, event: AuditEvent) -> None:
        """Returns when the intent is committed. Raises AuditUnavailable within about a second when it cannot be."""
        ...

    def finish(self, outcome: AuditOutcome) -> None:
        """Queues an outcome; never blocks and never raises."""
        ...

    async def record(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        """Event and outcome at once, committed. Raises AuditUnavailable."""
        ...

    async def query(self, query: AuditQuery) -> Page: ...

    async def verify(self) -> VerifyReport:
        """Walks the register and every chain from its first record."""
        ...

    def follow(self, query: AuditQuery) -> AsyncIterator[AuditRow]:
        """Rows as their outcomes are committed, without end and including every writer."""
        ...

    def lag(self) -> int:
        """The number of outcomes that are queued but not committed."""
        ...

    def problem(self) -> str:
        """Why nothing can be committed now; "" if the last attempt succeeded."""
        ...

    def room(self) -> Room | None:
        """The latest measurement, about a minute old at most; None before the first."""
        ...
