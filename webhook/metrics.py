"""What the webhook and the install sync measure."""

from __future__ import annotations

from registry_access.audit.metrics import AuditMetrics
from registry_access.state.metrics import StateMetrics

_ADMISSION_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class WebhookMetrics(StateMetrics, AuditMetrics):
    """Admission reviews, and the sync of installs."""

    def __init__(self) -> None:
        super().__init__()
        self.admission_reviews = self._counter(
            "akua_admission_reviews", "Admission reviews answered or refused.", "operation", "outcome"
        )
        self.admission_images = self._counter("akua_admission_images", "Images in admission reviews.", "outcome")
        self.admission_held_bytes = self._gauge("akua_admission_held_bytes", "Bytes held of incomplete admission reviews.")
        self.admission_seconds = self._histogram(
            "akua_admission_seconds", "Seconds to answer an admission review.", buckets=_ADMISSION_SECONDS
        )
        self.admission_unverified = self._counter(
            "akua_admission_unverified",
            "Reviews without an API server's credential, where one is asked for; they are not recorded.",
        )
        self.admission_audit_drops = self._counter(
            "akua_admission_audit_drops", "Admissions that could not be written to the audit trail."
        )
        self.install_syncs = self._counter("akua_install_syncs", "Reconciliations of installs.", "result")
        self.install_sync_leading = self._gauge("akua_install_sync_leading", "1 in the process that syncs installs, else 0.")
        self._expect(self.install_syncs, "synced", "failed")
        for outcome in ("patched", "unchanged", "error"):
            for operation in ("CREATE", "UPDATE"):
                self.admission_reviews.labels(operation, outcome)
        self.admission_reviews.labels("", "invalid")
        self.tokens_minted = self._counter("akua_install_tokens_minted", "Install tokens issued.")
