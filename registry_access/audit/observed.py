"""An audit trail with observers, which are called once for each event, when its outcome is known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from registry_access.audit.interface import AuditQuery, AuditRow, AuditTrail, Page, Room, VerifyReport
from registry_access.model.audit_event import AuditEvent, AuditOutcome

_UNDER_WAY_MAXIMUM = 50_000


class ObservedTrail:
    """`observers` must be quick and must not raise. Events under way are bounded; the oldest is forgotten first."""

    def __init__(self, trail: AuditTrail, *observers: Callable[[AuditEvent, AuditOutcome], None]) -> None:
        self._trail = trail
        self._observers = observers
        self._under_way: OrderedDict[str, AuditEvent] = OrderedDict()

    async def start(self) -> None:
        await self._trail.start()

    async def stop(self) -> None:
        await self._trail.stop()

    async def begin(self, event: AuditEvent) -> None:
        await self._trail.begin(event)
        self._under_way[event.id] = event
        if len(self._under_way) > _UNDER_WAY_MAXIMUM:
            self._under_way.popitem(last=False)

    def finish(self, outcome: AuditOutcome) -> None:
        self._trail.finish(outcome)
        if (event := self._under_way.pop(outcome.event_id, None)) is not None:
            self._observe(event, outcome)

    async def record(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        self._observe(event, outcome)
        await self._trail.record(event, outcome)

    def _observe(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        for observe in self._observers:
            observe(event, outcome)

    async def query(self, query: AuditQuery) -> Page:
        return await self._trail.query(query)

    async def verify(self) -> VerifyReport:
        return await self._trail.verify()

    def follow(self, query: AuditQuery) -> AsyncIterator[AuditRow]:
        return self._trail.follow(query)

    def lag(self) -> int:
        return self._trail.lag()

    def problem(self) -> str:
        return self._trail.problem()

    def room(self) -> Room | None:
        return self._trail.room()
