"""Who will pull: each image that admission rewrote becomes an audit record, so that pods stand beside the pulls of their nodes.

Off the admission path: a review never waits for the trail, and a trail that cannot be written stops no pod. Events wait in memory
until it can be written again. What finds no room is counted; the pull itself is recorded by the proxy in any case, before its
first byte.

One review makes at most REVIEW_MAXIMUM records, and one namespace as many as its budget allows. Beyond that, like admissions
become one row with a count, so that no author of pods can fill the trail.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import suppress

from registry_access.audit.interface import AuditTrail
from registry_access.audit.repeats import Rate, Repeats
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result, new_event_id
from registry_access.model.decision import new_decision_id
from registry_access.model.errors import AuditError, AuditUnavailable
from registry_access.model.resources.metadata import INSTALL_LABEL, INSTALL_UID_ANNOTATION, INSTALL_WORKSPACE_LABEL
from webhook.admission.review import AdmissionRequest
from webhook.admission.rewriting import Rewriting
from webhook.metrics import WebhookMetrics
from webhook.pod import Pod

logger = logging.getLogger(__name__)
_QUEUED_MAXIMUM = 10_000
_TOGETHER = 50
_RETRY_SECONDS = 1.0
REVIEW_MAXIMUM = 50
NAMESPACES = Rate(10.0, 1000.0)


class AdmissionAudit:
    """The webhook's observer: call it with a review and what became of it; `run` writes until it is cancelled.

    `retry` is how many seconds it waits before it tries a trail again that could not be written.
    """

    def __init__(
        self, trail: AuditTrail, telemetry: WebhookMetrics, rate: Rate = NAMESPACES, *, retry: float = _RETRY_SECONDS
    ) -> None:
        self._trail = trail
        self._retry = retry
        self._telemetry = telemetry
        self._queue: asyncio.Queue[AuditEvent] = asyncio.Queue(_QUEUED_MAXIMUM)
        self._repeats = Repeats(trail, rate, time.monotonic, telemetry.audit_folded.labels("admission").inc)

    def __call__(self, asked: AdmissionRequest, rewriting: Rewriting) -> None:
        """Never blocks."""
        for number, event in enumerate(admission_events(asked, rewriting, time.time_ns() // 1_000_000)):
            if number >= REVIEW_MAXIMUM or not self._repeats.takes(asked.namespace):
                self._repeats.hold(asked.namespace, event, _outcome(event))
                continue
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                self._telemetry.admission_audit_drops.inc()

    async def run(self) -> None:
        self._repeats.start()
        waiting: list[AuditEvent] = []
        try:
            while True:
                if not waiting:
                    waiting.append(await self._queue.get())
                self._fill(waiting)
                waiting = await self._write(waiting)
                if waiting:
                    await asyncio.sleep(self._retry)
        finally:
            await self._write_the_rest(waiting)
            await self._repeats.stop()

    def _fill(self, waiting: list[AuditEvent]) -> None:
        with suppress(asyncio.QueueEmpty):
            while len(waiting) < _TOGETHER:
                waiting.append(self._queue.get_nowait())

    async def _write(self, events: list[AuditEvent]) -> list[AuditEvent]:
        """Returns those to try again: the trail could not be written. It knows an event that it has already by its id."""
        written = (self._trail.record(event, _outcome(event)) for event in events)
        results = await asyncio.gather(*written, return_exceptions=True)
        again: list[AuditEvent] = []
        for event, failure in zip(events, results, strict=True):
            if isinstance(failure, AuditUnavailable) and not failure.permanent:
                again.append(event)
            elif failure is not None:
                self._telemetry.admission_audit_drops.inc()
                # A bug must not end the recording of all that come after.
                foreseen = isinstance(failure, AuditError)
                logger.error("an admission could not be recorded: %s", failure, exc_info=None if foreseen else failure)
        if again:
            logger.warning("%d admissions could not be recorded; they are tried again", len(again))
        return again

    async def _write_the_rest(self, waiting: list[AuditEvent]) -> None:
        """At the end there is one try: the process has other things to put away before it is killed."""
        while True:
            self._fill(waiting)
            if not waiting:
                return
            if kept := await self._write(waiting):
                lost = len(kept) + self._queue.qsize()
                self._telemetry.admission_audit_drops.inc(lost)
                logger.warning("%d admissions are not recorded: the audit trail could not be written", lost)
                return
            waiting = []


def _outcome(event: AuditEvent) -> AuditOutcome:
    return AuditOutcome(event.id, event.time, Result.ALLOWED)


def admission_events(asked: AdmissionRequest, rewriting: Rewriting, now: int) -> Iterator[AuditEvent]:
    """One event for each rewritten image and install that it came through. `now` is epoch milliseconds."""
    pod = Pod(asked.object)
    decision = new_decision_id()
    for pull in rewriting.pulls.values():
        for grant in pull.grants:
            yield AuditEvent(
                id=new_event_id(),
                time=now,
                decision_id=decision,
                operation=Operation.ADMISSION,
                workspace=grant.metadata.labels.get(INSTALL_WORKSPACE_LABEL, ""),
                install=grant.metadata.labels.get(INSTALL_LABEL, grant.metadata.name),
                install_uid=grant.metadata.annotations.get(INSTALL_UID_ANNOTATION, ""),
                registry=pull.upstream.registry,
                repository=pull.upstream.repository,
                reference=pull.upstream.digest or pull.upstream.tag,
                pod=f"{asked.namespace}/{pod.name}",
                owner=str(pod.controller or ""),
            )
