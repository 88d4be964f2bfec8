"""One request for registry content: what was asked, decided and answered. The audit trail, log and metrics are fed from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time_ns

from starlette.types import Scope as AsgiScope

from proxy.gates.authentication import Subject
from proxy.metrics import ProxyMetrics
from proxy.protocol.distribution_path import BlobPath, ManifestPath, ReferrersPath, RepositoryPath
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result, new_event_id, safe_text
from registry_access.model.decision import Decision, GateResult, Reason, new_decision_id

logger = logging.getLogger("proxy.pull.pulls")


@dataclass(slots=True)
class Exchange:
    """`began` is on the monotonic clock. `status`, `digest` and `bytes` describe the answer so far; `bytes` is what left."""

    operation: Operation
    client_address: str
    user_agent: str
    query: bytes = b""
    registry: str = ""
    repository: str = ""
    reference: str = ""
    event_id: str = field(default_factory=new_event_id)
    decision: Decision = field(default_factory=lambda: Decision(new_decision_id(), ()))
    time: int = field(default_factory=lambda: time_ns() // 1_000_000)
    began: float = field(default_factory=monotonic)
    subject: Subject | None = None
    credential: str = ""
    peer_address: str = ""  # the load balancer, where the client's address is what it says
    status: int = 0
    digest: str = ""
    bytes: int = 0

    @classmethod
    def of(cls, path: RepositoryPath, scope: AsgiScope) -> Exchange:
        exchange = cls.outside(_operation(path, scope["method"]), scope, _reference(path))
        exchange.registry, exchange.repository = path.registry, path.repository
        return exchange

    @classmethod
    def outside(cls, operation: Operation, scope: AsgiScope, reference: str = "") -> Exchange:
        """A request without a repository. `reference` is what the client sent, unchecked."""
        return cls(
            operation,
            client_address(scope),
            user_agent(scope),
            scope.get("query_string", b""),
            reference=safe_text(reference),
            peer_address=scope.get("akua.peer", ""),
        )

    def event(self) -> AuditEvent:
        """The audit trail's intent."""
        subject = self.subject
        return AuditEvent(
            id=self.event_id,
            time=self.time,
            decision_id=self.decision.id,
            operation=self.operation,
            workspace=subject.identity.workspace if subject else "",
            install=subject.identity.install if subject else "",
            install_uid=subject.identity.uid if subject else "",
            token_id=subject.token_id if subject else "",
            registry=self.registry,
            repository=self.repository,
            reference=self.reference,
            client_address=self.client_address,
            peer_address=self.peer_address,
            user_agent=self.user_agent,
        )

    def outcome(self, result: Result, refusal: GateResult | None = None) -> AuditOutcome:
        """The audit trail's outcome."""
        duration = int((monotonic() - self.began) * 1000)
        return AuditOutcome(
            event_id=self.event_id,
            time=self.time + duration,
            result=result,
            # No gate refused a client that went away.
            gate=str(refusal.gate) if refusal and refusal.reason is not Reason.CLIENT_CLOSED else "",
            reason=str(refusal.reason) if refusal else "",
            detail=refusal.detail if refusal else "",
            status=self.status,
            digest=self.digest,
            bytes=self.bytes,
            duration=duration,
            credential=self.credential,
        )

    def measure(self, telemetry: ProxyMetrics, outcome: AuditOutcome) -> None:
        telemetry.pulls.labels(str(self.operation), str(outcome.result)).inc()
        telemetry.pull_seconds.labels(str(self.operation)).observe(outcome.duration / 1000)
        if outcome.reason:
            telemetry.refusals.labels(outcome.gate, outcome.reason).inc()

    def log(self, outcome: AuditOutcome) -> None:
        """One line, which can be found by the decision id."""
        level = logging.INFO if outcome.result is Result.ALLOWED else logging.WARNING
        logger.log(
            level,
            "%s %s",
            self.operation,
            outcome.result,
            extra={
                "decision": self.decision.id,
                "workspace": self.subject.identity.workspace if self.subject else "",
                "install": self.subject.identity.install if self.subject else "",
                "image": f"{self.registry}/{self.repository}",
                "reference": self.reference,
                "client": self.client_address,
                "status": outcome.status,
                "bytes": outcome.bytes,
                "milliseconds": outcome.duration,
                **({"gate": outcome.gate, "reason": outcome.reason, "detail": outcome.detail} if outcome.reason else {}),
            },
        )


def client_address(scope: AsgiScope) -> str:
    """The peer's address, or what a trusted proxy says of it (ForwardedClients). Anybody else's headers are not believed."""
    return scope["client"][0] if scope.get("client") else ""


def acknowledge(scope: AsgiScope, subject: Subject) -> None:
    """Tells the server that a working install sent this request: its connection keeps its place when strangers fill the rest."""
    known: Callable[[str], None] | None = scope.get("extensions", {}).get("akua.known")
    if known is not None:
        known(f"{subject.identity.workspace}/{subject.identity.uid}")


def user_agent(scope: AsgiScope) -> str:
    return next((safe_text(value.decode("latin-1")) for name, value in scope["headers"] if name == b"user-agent"), "")


def _operation(path: RepositoryPath, method: str) -> Operation:
    if isinstance(path, ManifestPath):
        return Operation.HEAD_MANIFEST if method == "HEAD" else Operation.PULL_MANIFEST
    if isinstance(path, BlobPath):
        return Operation.HEAD_BLOB if method == "HEAD" else Operation.PULL_BLOB
    return Operation.LIST_REFERRERS if isinstance(path, ReferrersPath) else Operation.LIST_TAGS


def _reference(path: RepositoryPath) -> str:
    if isinstance(path, ManifestPath):
        return path.reference
    return str(path.digest) if isinstance(path, BlobPath | ReferrersPath) else ""
