"""What is measured of the state, and of the Events written about it."""

from __future__ import annotations

from registry_access.runtime.metrics import MetricSet


class StateMetrics(MetricSet):
    """Freshness of the state, manifests that cannot be used, Events."""

    def __init__(self) -> None:
        super().__init__()
        self.state_staleness = self._gauge("akua_state_staleness_seconds", "Age of the last proof that the state is current.")
        self.state_problems = self._gauge("akua_state_problems", "Resources that cannot be used.")
        self.secret_bytes = self._gauge("akua_workspace_secret_bytes", "Bytes of base64 held of all workspaces' Secrets.")
        self.workspaces_unreadable = self._gauge(
            "akua_workspaces_unreadable", "Workspaces whose pulls are refused because their Secrets cannot be read."
        )
        self.events = self._counter(
            "akua_events",
            "Events about installs and credentials: written, failed, or dropped because the queue was full.",
            "result",
        )
        self._expect(self.events, "written", "failed", "dropped")
