"""Every metric, declared once, with fixed label sets: nothing that a client chooses becomes a label (threat model, row 26)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ADMISSION_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class Telemetry:
    """One for a process, handed around; on a registry of its own, so that two in one test never meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pulls = self._counter("akua_pulls", "Requests for registry content.", "operation", "result")
        self.refusals = self._counter("akua_refusals", "Requests that a gate refused.", "gate", "reason")
        self.challenges = self._counter("akua_challenges", "Requests without credentials that were answered with the challenge.")
        self.bytes = self._counter("akua_sent_bytes", "Bytes of registry content sent to clients.")
        self.pull_seconds = self._histogram("akua_pull_seconds", "Seconds from request to the end of the answer.", "operation")
        self.tokens = self._counter("akua_tokens", "Answers of the token endpoint.", "result", "reason")
        self.streams_open = self._gauge("akua_streams_open", "Answers being streamed now.")
        self.streams_cut = self._counter("akua_streams_cut", "Streams cut because a gate no longer passes.", "reason")
        self.upstream_seconds = self._histogram("akua_upstream_seconds", "Seconds until an upstream's headers.", "registry")
        self.upstream_answers = self._counter("akua_upstream_answers", "Answers of upstreams.", "registry", "status")
        self.upstream_failures = self._counter("akua_upstream_failures", "Upstreams that gave no answer.", "registry")
        self.upstream_rate_limit_remaining = self._gauge(
            "akua_upstream_rate_limit_remaining", "Pulls left, as the upstream last said.", "registry", "credential"
        )
        self.audit_failures = self._counter("akua_audit_failures", "Requests refused because nothing could be committed.")
        self.audit_skipped = self._counter("akua_audit_skipped", "Refusals of unknown callers beyond the rate that is recorded.")
        self.audit_lag = self._gauge("akua_audit_lag_records", "Outcomes queued and not yet committed.")
        self.state_staleness = self._gauge("akua_state_staleness_seconds", "Age of the last proof that the state is current.")
        self.state_problems = self._gauge("akua_state_problems", "Manifests that cannot be used.")
        self.admission_reviews = self._counter("akua_admission_reviews", "Admission reviews answered.", "operation", "outcome")
        self.admission_images = self._counter("akua_admission_images", "Images in admission reviews.", "outcome")
        self.admission_seconds = self._histogram(
            "akua_admission_seconds", "Seconds to answer an admission review.", buckets=_ADMISSION_SECONDS
        )
        self.admission_audit_drops = self._counter(
            "akua_admission_audit_drops", "Admissions that could not be written into the audit trail."
        )
        self.install_syncs = self._counter("akua_install_syncs", "Reconciliations of installs.", "result")
        self.events = self._counter(
            "akua_events", "Events of installs and credentials: written, failed, dropped for want of room.", "result"
        )
        self.install_sync_leading = self._gauge("akua_install_sync_leading", "1 in the process that syncs installs, else 0.")
        self.tokens_minted = self._counter("akua_install_tokens_minted", "Install tokens minted.")
        self.certificate_expiry = self._gauge(
            "akua_certificate_expiry_timestamp_seconds", "When a serving certificate expires.", "server"
        )
        self.node_trust_looks = self._counter(
            "akua_node_trust_looks", "Looks at what this node is to trust: written, unchanged or failed.", "result"
        )
        self.connections = self._gauge(
            "akua_connections", "Open connections of clients that are known, and of strangers.", "server", "standing"
        )
        self.connections_ended = self._counter(
            "akua_connections_ended", "Connections and requests that a limit refused or ended.", "server", "reason"
        )
        self.log_drops = self._counter("akua_log_lines_dropped", "Log lines dropped because nobody read standard output.")

    def upstream_answered(self, registry: str, status: int, seconds: float) -> None:
        self.upstream_seconds.labels(registry).observe(seconds)
        self.upstream_answers.labels(registry, f"{status // 100}xx" if status != 429 else "429").inc()

    def upstream_failed(self, registry: str) -> None:
        self.upstream_failures.labels(registry).inc()

    def rate_limit_remaining(self, registry: str, credential: str, remaining: int) -> None:
        self.upstream_rate_limit_remaining.labels(registry, credential).set(remaining)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
