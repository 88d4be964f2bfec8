"""Refusals of our own gates: recorded, counted, logged, and turned into the error to answer with. One way for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic

from proxy.metrics import ProxyMetrics
from proxy.oci_errors import Challenger, OciError, refusal_error
from proxy.pull.exchange import Exchange
from registry_access.audit.interface import AuditTrail
from registry_access.audit.repeats import UNKNOWN, Rate, Repeats
from registry_access.model.audit_event import Result
from registry_access.model.decision import Reason
from registry_access.model.errors import AuditUnavailable

STRANGERS = Rate(10.0, 200.0)
INSTALLS = Rate(0.5, 100.0)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refusals of one install are recorded one by one within its budget, those of all unknown callers within theirs.

    Beyond it, like refusals become one row with a count. Otherwise a revoked install, or anybody who reaches the proxy, could
    fill the audit trail's disk, and no audit means no pull for everybody.
    """

    trail: AuditTrail
    telemetry: ProxyMetrics
    challenger: Challenger
    installs: Rate = INSTALLS
    strangers: Rate = STRANGERS
    repeats: Repeats = field(init=False)

    def __post_init__(self) -> None:
        folded = self.telemetry.audit_folded.labels("refusal").inc
        repeats = Repeats(self.trail, self.installs, monotonic, folded, strangers=self.strangers)
        object.__setattr__(self, "repeats", repeats)

    async def refuse(
        self, exchange: Exchange, *, scope: str = "", code: str = "", status: int = 0, headers: Mapping[str, str] | None = None
    ) -> OciError:
        """The error for the gate that failed in `exchange.decision`. `code` and `status` replace what its reason gives."""
        refusal = exchange.decision.refusal
        error = refusal_error(
            exchange.decision,
            self.challenger,
            scope=scope,
            code=code,
            status=status,
            headers=headers,
            query=exchange.query,
        )
        exchange.status = error.status
        if refusal is None or refusal.reason is Reason.TOKEN_MISSING:
            # Every client's first request is like this; the challenge is its answer. Counted, not recorded.
            self.telemetry.challenges.inc()
            return error
        outcome = exchange.outcome(Result.REFUSED, refusal)
        if refusal.reason is not Reason.AUDIT_UNAVAILABLE:
            await self._record(exchange)
        exchange.measure(self.telemetry, outcome)
        exchange.log(outcome)
        return error

    async def _record(self, exchange: Exchange) -> None:
        subject = exchange.subject
        source = (subject.identity.workspace, subject.identity.uid) if subject else UNKNOWN
        refusal = exchange.decision.refusal
        outcome = exchange.outcome(Result.REFUSED, refusal)
        if refusal is not None and refusal.reason is Reason.RATE_LIMITED:
            # They come by the hundreds a second: one row for all of an install's, with the first one's client and no image.
            self.repeats.hold(source, replace(exchange.event(), registry="", repository="", reference=""), outcome)
            return
        if not self.repeats.takes(source):
            if subject is None:
                self.telemetry.audit_skipped.inc()
            self.repeats.hold(source, exchange.event(), outcome)
            return
        try:
            await self.trail.record(exchange.event(), outcome)
        except AuditUnavailable:
            # It is refused all the same; the metric and the log line say what the trail could not.
            self.telemetry.audit_failures.inc()
