"""What the proxy measures."""

from __future__ import annotations

import math

from registry_access.audit.metrics import AuditMetrics
from registry_access.model.decision import REASONS
from registry_access.state.metrics import StateMetrics

REGISTRIES_MAXIMUM = 500  # by name; members choose the hosts of their credentials, and a label stays for as long as the process
OTHERS = "other"


class ProxyMetrics(StateMetrics, AuditMetrics):
    """Pulls, refusals, streams, upstreams, the audit trail."""

    def __init__(self) -> None:
        super().__init__()
        self._registries: set[str] = set()
        self._limited: set[tuple[str, str]] = set()
        self.pulls = self._counter("akua_pulls", "Requests for registry content.", "operation", "result")
        self.refusals = self._counter("akua_refusals", "Requests that a gate refused.", "gate", "reason")
        self.challenges = self._counter(
            "akua_challenges", "Requests without credentials, answered with an authentication challenge."
        )
        self.bytes = self._counter("akua_sent_bytes", "Bytes of registry content sent to clients.")
        self.pull_seconds = self._histogram(
            "akua_pull_seconds", "Seconds from the request to the end of the response.", "operation"
        )
        self.tokens = self._counter("akua_tokens", "Responses of the token endpoint.", "result", "reason")
        self.streams_open = self._gauge("akua_streams_open", "Responses being streamed now.")
        self.documents_waited = self._counter(
            "akua_large_documents_waited", "Manifests and lists over 1 MiB that waited for another one of the same workspace."
        )
        self.streams_cut = self._counter("akua_streams_cut", "Streams cut because a gate no longer passed.", "reason")
        self.upstream_seconds = self._histogram(
            "akua_upstream_seconds", "Seconds until an upstream sent its headers.", "registry"
        )
        self.upstream_answers = self._counter("akua_upstream_answers", "Responses of upstreams.", "registry", "status")
        self.upstream_failures = self._counter(
            "akua_upstream_failures", "Requests to which an upstream gave no response.", "registry"
        )
        self.upstream_circuits = self._counter(
            "akua_upstream_circuits_opened",
            "Times that a registry was not contacted for a while after consecutive failures with one credential.",
            "registry",
        )
        self.upstream_rate_limit_remaining = self._gauge(
            "akua_upstream_rate_limit_remaining", "Remaining pulls, as last reported by the upstream.", "registry", "credential"
        )
        self.credential_expiry = self._gauge(
            "akua_credential_expiry_timestamp_seconds",
            "When a registry credential's secret expires upstream, from spec.expiresAt.",
            "workspace",
            "credential",
        )
        self.audit_failures = self._counter(
            "akua_audit_failures", "Requests refused because the audit trail could not be written."
        )
        self.audit_skipped = self._counter(
            "akua_audit_skipped", "Refusals of unknown callers beyond the rate that is recorded individually."
        )
        self.audit_bytes = self._gauge("akua_audit_bytes", "Size of the audit trail in the database.")
        self.audit_free_bytes = self._gauge(
            "akua_audit_free_bytes", "Bytes left for the audit trail, on its volume or within AKUA_AUDIT_CAPACITY."
        )
        self.audit_days_left = self._gauge(
            "akua_audit_days_left",
            "Days until the audit trail has no space left, at the growth of the last 24 hours; at most 9999.",
        )
        self.audit_room(0, None, None)
        self.audit_lag = self._gauge("akua_audit_lag_records", "Pull outcomes queued and not yet committed.")
        for gate, reasons in REASONS.items():
            for reason in reasons:
                self.refusals.labels(str(gate), str(reason))

    def audit_room(self, size: int, free: int | None, days_left: float | None) -> None:
        """What is unknown is not shown as 0: an alert would fire."""
        self.audit_bytes.set(size)
        self.audit_free_bytes.set(math.nan if free is None else free)
        self.audit_days_left.set(math.nan if days_left is None else days_left)

    def upstream_answered(self, registry: str, status: int, seconds: float) -> None:
        registry = self._label(registry)
        self.upstream_failures.labels(registry)
        self.upstream_seconds.labels(registry).observe(seconds)
        self.upstream_answers.labels(registry, f"{status // 100}xx" if status != 429 else "429").inc()

    def upstream_failed(self, registry: str) -> None:
        self.upstream_failures.labels(self._label(registry)).inc()

    def circuit_opened(self, registry: str) -> None:
        self.upstream_circuits.labels(self._label(registry)).inc()

    def rate_limit_remaining(self, registry: str, credential: str, remaining: int) -> None:
        if (registry, credential) in self._limited or len(self._limited) < REGISTRIES_MAXIMUM:
            self._limited.add((registry, credential))
            self.upstream_rate_limit_remaining.labels(registry, credential).set(remaining)

    def _label(self, registry: str) -> str:
        """The registry, while there are not too many of them."""
        if registry not in self._registries:
            if len(self._registries) >= REGISTRIES_MAXIMUM:
                return OTHERS
            self._registries.add(registry)
        return registry
