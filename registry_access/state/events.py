"""The recorder of Events that fits a state store."""

from __future__ import annotations

from registry_access.settings import Settings
from registry_access.state.event_recorder import EventRecorder, EventWriter, LogEvents
from registry_access.state.interface import StateStore
from registry_access.state.metrics import StateMetrics


def event_recorder(settings: Settings, store: StateStore, telemetry: StateMetrics, controller: str) -> EventRecorder:
    """What tells people of what happened to their objects; `controller` is the part of us that tells."""
    return EventRecorder(_event_writer(settings, store, controller), lambda result: telemetry.events.labels(result).inc())


def _event_writer(settings: Settings, store: StateStore, controller: str) -> EventWriter:
    if settings.state != "kubernetes":
        return LogEvents()
    from registry_access.state.kubernetes.event_writer import KubernetesEvents
    from registry_access.state.kubernetes.store import KubernetesStore

    return KubernetesEvents(store.api, controller, settings.audit_writer) if isinstance(store, KubernetesStore) else LogEvents()
