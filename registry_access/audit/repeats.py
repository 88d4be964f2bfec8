"""Repeats: beyond a source's budget, similar records become one row with a count, so that no source can fill the trail.

A full trail means that every pull is refused. Each source (an install, all unknown callers together, a namespace of admitted
pods) is recorded one by one within its budget. Further records are held for at most FOLD_SECONDS and recorded as one row for
each kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from registry_access.audit.interface import AuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome
from registry_access.model.budget import Budget
from registry_access.model.errors import AuditUnavailable

logger = logging.getLogger(__name__)
FOLD_SECONDS = 60.0
GROUP_SHARE = 10  # budgets of single sources that all sources of one group (a workspace's installs) have together
SOURCES_MAXIMUM = 10_000  # with their own budget; the one idle for longest is dropped
KINDS_MAXIMUM = 500  # held at a time for one source's like; beyond, rows tell sources and reasons apart, and no images
UNKNOWN = ("", "")  # the source of all callers without a valid token


@dataclass(frozen=True, slots=True)
class Rate:
    """How much of one source is recorded one by one: `at_once` at first, then `per_second`."""

    per_second: float
    at_once: float

    def times(self, number: float) -> Rate:
        return Rate(self.per_second * number, self.at_once * number)

    def budget(self, clock: Callable[[], float]) -> Budget:
        return Budget(self.per_second, self.at_once, clock)


@dataclass(slots=True)
class _Held:
    event: AuditEvent
    outcome: AuditOutcome
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Group:
    """All sources of one name, told from a source that bears the same."""

    name: Hashable


def _group_of(source: Hashable) -> _Group:
    return _Group(source[0] if isinstance(source, tuple) else source)


class Repeats:
    """`folded` is called for each record that is not written by itself. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        trail: AuditTrail,
        rate: Rate,
        clock: Callable[[], float],
        folded: Callable[[], None] = lambda: None,
        *,
        strangers: Rate | None = None,
    ) -> None:
        self._trail = trail
        self._rate = rate
        self._strangers = strangers or rate
        self._clock = clock
        self._folded = folded
        self._budgets: OrderedDict[Hashable, Budget] = OrderedDict()
        self._held: dict[Hashable, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audit repeats")

    async def stop(self) -> None:
        """Writes the held records."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    async def record(self, source: Hashable, event: AuditEvent, outcome: AuditOutcome) -> None:
        """Records it, or holds it to be counted with similar records. Raises AuditUnavailable."""
        if self.takes(source):
            await self._trail.record(event, outcome)
        else:
            self.hold(source, event, outcome)

    def takes(self, source: Hashable) -> bool:
        """Whether one more record of `source` gets its own row.

        A source that is a pair belongs to the group that its first half names. A member may have as many installs as he likes,
        and tokens of deleted ones too: together they have a budget as well.
        """
        budget = self._budget(source, self._strangers if source == UNKNOWN else self._rate)
        if not budget.take():
            return False
        if not isinstance(source, tuple) or source == UNKNOWN:
            return True
        return self._budget(_group_of(source), self._rate.times(GROUP_SHARE)).take()

    def _budget(self, source: Hashable, rate: Rate) -> Budget:
        budget = self._budgets.pop(source, None) or rate.budget(self._clock)
        self._budgets[source] = budget
        if len(self._budgets) > SOURCES_MAXIMUM:
            self._budgets.popitem(last=False)
        return budget

    def hold(self, source: Hashable, event: AuditEvent, outcome: AuditOutcome) -> None:
        """Counts it with similar records."""
        self._folded()
        coarse = (source, event.workspace, event.operation, outcome.result, outcome.gate, outcome.reason)
        key: Hashable = (*coarse, event.install, event.registry, event.repository, event.owner)
        if source == UNKNOWN or (key not in self._held and len(self._held) >= KINDS_MAXIMUM):
            # What a stranger writes into a path makes no rows; nor does an install that asks for ever new names.
            key = coarse
            if source != UNKNOWN and coarse not in self._held and len(self._held) >= 2 * KINDS_MAXIMUM:
                # All installs of a workspace together: a row must never count what another workspace did.
                key = (_group_of(source), *coarse[1:])
                event = replace(event, install="", install_uid="", token_id="", registry="", repository="", reference="")
        held = self._held.get(key)
        if held is None:
            self._held[key] = _Held(event, outcome)
        else:
            held.count += 1
            held.outcome = replace(held.outcome, time=max(held.outcome.time, outcome.time))

    async def flush(self) -> None:
        """Writes a row for each kind that is held; what cannot be written now is kept for the next time."""
        for key in list(self._held):
            each = self._held.pop(key)
            try:
                await self._trail.record(each.event, replace(each.outcome, event_id=each.event.id, count=each.count))
            except AuditUnavailable as error:
                if error.permanent:
                    logger.error("%d repeats could not be recorded: %s", each.count, error)
                    continue
                logger.warning("repeats could not be recorded; retrying: %s", error)
                if key in self._held:  # more came meanwhile
                    each.count += self._held[key].count
                self._held[key] = each
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FOLD_SECONDS)
            await self.flush()
