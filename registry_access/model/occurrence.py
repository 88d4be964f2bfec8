"""Something that happened to an object and that a person who looks at the object should read: an Event, in Kubernetes' words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry_access.model.audit_event import safe_text
from registry_access.model.resources import Key
from registry_access.model.resources.metadata import Identified

NOTE_MAXIMUM = 1024  # bytes (events.k8s.io/v1)


class EventReason(StrEnum):
    """What happened, as one stable word; docs/installs.md says what each means."""

    PULL_REFUSED = "PullRefused"
    PULL_FAILED = "PullFailed"
    PULL_CUT = "PullCut"
    UPSTREAM_REFUSED = "UpstreamRefused"
    CREDENTIAL_UNUSABLE = "CredentialUnusable"
    SYNC_FAILED = "SyncFailed"
    SYNCED = "Synced"
    TOKEN_ROTATED = "TokenRotated"  # noqa: S105 - a reason
    REMOVAL_WAITS = "RemovalWaits"
    REMOTE_OBJECTS_LEFT = "RemoteObjectsLeft"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`action` is what was being done, one word in UpperCamelCase; `note` a sentence without secrets.

    Occurrences of the same object, `reason` and `alike` are the same thing happening again.
    """

    regarding: Key
    uid: str
    warning: bool
    reason: EventReason
    action: str
    note: str
    alike: str = ""

    @property
    def series(self) -> tuple[Key, str, str, str]:
        """What it has in common with those that it repeats."""
        return self.regarding, self.uid, self.reason, self.alike


def occurrence(
    resource: Identified, reason: EventReason, action: str, note: str, *, warning: bool = False, alike: str = ""
) -> Occurrence:
    """One about `resource`, its note made one line of at most 1,024 bytes."""
    return Occurrence(resource.key, resource.metadata.uid, warning, reason, action, bounded_note(note), alike)


def bounded_note(note: str) -> str:
    """One line of at most 1,024 bytes."""
    line = safe_text(note, NOTE_MAXIMUM)
    encoded = line.encode()
    return line if len(encoded) <= NOTE_MAXIMUM else encoded[: NOTE_MAXIMUM - 3].decode(errors="ignore") + "…"
