"""Metrics of every writer to the audit trail."""

from __future__ import annotations

from registry_access.runtime.metrics import MetricSet


class AuditMetrics(MetricSet):
    """Records beyond a budget."""

    def __init__(self) -> None:
        super().__init__()
        self.audit_folded = self._counter(
            "akua_audit_folded", "Records counted in one row with similar ones because their source exceeded its budget.", "kind"
        )
        self._expect(self.audit_folded, "refusal", "admission")
