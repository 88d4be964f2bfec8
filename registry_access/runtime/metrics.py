"""Metrics: each declared once by the part that sets it, with fixed label sets. Nothing that a client chooses becomes a label.

A program's metrics are one object: the parts' sets are mixed together over one registry (programs/telemetry.py).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class MetricSet:
    """Metrics on a registry of their own, so that two sets in one test never meet. Subclasses call `super().__init__()` first."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    @staticmethod
    def _expect(counter: Counter, *values: str) -> None:
        """Series that alerts look at are there from the start, at 0: of one that is born at 1, the first increase is not seen."""
        for value in values:
            counter.labels(value)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)


class ProcessMetrics(MetricSet):
    """What every serving process measures of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.certificate_expiry = self._gauge(
            "akua_certificate_expiry_timestamp_seconds", "When a serving certificate expires.", "server"
        )
        self.log_drops = self._counter("akua_log_lines_dropped", "Log lines dropped because standard output was blocked.")
        self.connections = self._gauge(
            "akua_connections", "Open connections of known clients and of strangers.", "server", "standing"
        )
        self.connections_ended = self._counter(
            "akua_connections_ended", "Connections and requests refused or ended by a limit.", "server", "reason"
        )
