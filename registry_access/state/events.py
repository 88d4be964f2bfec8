"""The recorder of Events that fits a state store."""

from __future__ import annotations

from registry_access.settings import Settings
from registry_access.state.event_recorder import EventRecorder
from registry_access.state.interface import StateStore
from registry_access.state.metrics import StateMetrics


def event_recorder(settings: Settings, store: StateStore, telemetry: StateMetrics, controller: str) -> EventRecorder:
    """Tells people what happened to their objects; `controller` is the part of us that tells."""
    writer = store.event_writer(controller, settings.audit_writer)
    return EventRecorder(writer, lambda result: telemetry.events.labels(result).inc())
