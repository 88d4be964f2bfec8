"""Refused pulls from the Events of a workspace, for members who have no access to the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control.install.pod_search import no_cluster
from control.session import Session
from registry_access.model.occurrence import EventReason
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import GROUP
from registry_access.state.kubernetes.events import events_of

_PULLS = frozenset(
    map(str, (EventReason.PULL_REFUSED, EventReason.PULL_FAILED, EventReason.PULL_CUT, EventReason.UPSTREAM_REFUSED))
)


@dataclass(frozen=True, slots=True)
class PullEvent:
    """An Event about pulls of an install or with a credential. `time` is RFC 3339 text, the last of `count` occurrences."""

    time: str
    kind: str
    name: str
    reason: str
    count: int
    note: str


async def pull_events(session: Session, install: str = "") -> list[PullEvent]:
    """Refused, failed and cut pulls of the workspace that Events still hold (for an hour, by default), newest first.

    Raises StateUnavailable if there is no cluster, or the user may not list Events.
    """
    api: Any = getattr(session.store, "api", None)
    if api is None:
        raise no_cluster()
    found = []
    async for event in events_of(api, session.workspace):
        about = event.get("involvedObject") or {}
        if not str(about.get("apiVersion", "")).startswith(GROUP) or event.get("reason") not in _PULLS:
            continue
        if install and (about.get("kind"), about.get("name")) != (str(Kind.INSTALL), install):
            continue
        series = event.get("series") or {}
        time = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
        count = int(series.get("count") or event.get("count") or 1)
        note = str(event.get("message", ""))
        found.append(PullEvent(str(time), str(about["kind"]), str(about["name"]), str(event["reason"]), count, note))
    return sorted(found, key=lambda each: each.time, reverse=True)
