"""What the audit trail records: an event that was about to happen, and its outcome.

Values come from clients, so they are made safe here: one line, no control characters, bounded (threat model, row 23).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

TEXT_MAXIMUM = 512


class Operation(StrEnum):
    PULL_MANIFEST = "pull-manifest"
    HEAD_MANIFEST = "head-manifest"
    PULL_BLOB = "pull-blob"
    HEAD_BLOB = "head-blob"
    LIST_TAGS = "list-tags"
    LIST_REFERRERS = "list-referrers"
    TOKEN = "token"  # noqa: S105 - the operation's name
    PING = "ping"
    INVALID = "invalid"  # no path of the protocol
    ADMISSION = "admission"


class Result(StrEnum):
    ALLOWED = "allowed"
    REFUSED = "refused"  # one of our gates said no
    FAILED = "failed"  # the upstream, or the way to it
    CUT = "cut"  # allowed, then revoked while it streamed


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What is about to happen. `time` is epoch milliseconds; `id` is made by the caller, so that recording is idempotent."""

    id: str
    time: int
    decision_id: str
    operation: Operation
    workspace: str = ""
    install: str = ""
    install_uid: str = ""
    token_id: str = ""
    registry: str = ""
    repository: str = ""
    reference: str = ""
    client_address: str = ""
    user_agent: str = ""
    pod: str = ""  # namespace/name, for admissions
    owner: str = ""  # the pod's controller, "ReplicaSet/shop-5d9"


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """What came of it. `status` is the HTTP status answered, `bytes` what was sent, `duration` milliseconds."""

    event_id: str
    time: int
    result: Result
    gate: str = ""
    reason: str = ""
    detail: str = ""
    status: int = 0
    digest: str = ""
    bytes: int = 0
    duration: int = 0
    credential: str = ""


def new_event_id() -> str:
    """``evt_`` and 24 hexadecimal digits (96 random bits)."""
    return "evt_" + secrets.token_hex(12)


def safe_text(text: str, maximum: int = TEXT_MAXIMUM) -> str:
    """`text` on one line: control characters and lone surrogates escaped as ``\\xNN`` and ``\\uNNNN``, cut at `maximum`."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else _escaped(character) for character in text[: maximum + 1])
    return text if len(text) <= maximum else text[: maximum - 1] + "…"


# Asked once: every pull writes two of these, and `dataclasses.asdict` would take longer than the gates.
_EVENT_NAMES = tuple(field.name for field in fields(AuditEvent))
_OUTCOME_NAMES = tuple(field.name for field in fields(AuditOutcome))


def safe_event(event: AuditEvent) -> AuditEvent:
    """`event` with every text made safe."""
    return AuditEvent(**{name: _safe(getattr(event, name)) for name in _EVENT_NAMES})


def safe_outcome(outcome: AuditOutcome) -> AuditOutcome:
    """`outcome` with every text made safe."""
    return AuditOutcome(**{name: _safe(getattr(outcome, name)) for name in _OUTCOME_NAMES})


def payload_of(record: AuditEvent | AuditOutcome) -> dict[str, Any]:
    """The record's fields by name, as they are."""
    names = _EVENT_NAMES if isinstance(record, AuditEvent) else _OUTCOME_NAMES
    return {name: getattr(record, name) for name in names}


def _safe(value: Any) -> Any:
    return safe_text(value) if type(value) is str else value


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
