"""What is measured of the audit trail by all that write to it."""

from __future__ import annotations

from registry_access.runtime.metrics import MetricSet


class AuditMetrics(MetricSet):
    """Records beyond a budget."""

    def __init__(self) -> None:
        super().__init__()
        self.audit_folded = self._counter(
            "akua_audit_folded", "Records counted in a row with their like, because their source was beyond its budget.", "kind"
        )
        self._expect(self.audit_folded, "refusal", "admission")
