"""Something that happened to an object and that a person who looks at the object should read: an Event, in Kubernetes' words."""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.audit_event import safe_text
from registry_access.model.resources import Key
from registry_access.model.resources.metadata import Identified

NOTE_MAXIMUM = 1024  # bytes (events.k8s.io/v1)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`reason` and `action` are words in UpperCamelCase, `note` a sentence without secrets.

    Occurrences of the same object, `reason` and `alike` are the same thing happening again.
    """

    regarding: Key
    uid: str
    warning: bool
    reason: str
    action: str
    note: str
    alike: str = ""

    @property
    def series(self) -> tuple[Key, str, str, str]:
        """What it has in common with those that it repeats."""
        return self.regarding, self.uid, self.reason, self.alike


def occurrence(
    resource: Identified, reason: str, action: str, note: str, *, warning: bool = False, alike: str = ""
) -> Occurrence:
    """One about `resource`, its note made one line of at most 1,024 bytes."""
    line = safe_text(note, NOTE_MAXIMUM)
    encoded = line.encode()
    if len(encoded) > NOTE_MAXIMUM:
        line = encoded[: NOTE_MAXIMUM - 3].decode(errors="ignore") + "…"
    return Occurrence(resource.key, resource.metadata.uid, warning, reason, action, line, alike)
