"""Every metric of every program, on one registry."""

from __future__ import annotations

from node_trust.metrics import NodeTrustMetrics
from proxy.metrics import ProxyMetrics
from registry_access.runtime.metrics import ProcessMetrics
from webhook.metrics import WebhookMetrics


class Telemetry(ProxyMetrics, WebhookMetrics, NodeTrustMetrics, ProcessMetrics):
    """One for a process; each part sees the set that it declares."""
