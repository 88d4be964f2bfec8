"""What the audit trail records: an event that was about to happen, and its outcome.

Values come from clients, so they are made safe here: one line, no control characters, and bounded in bytes as they are stored.
A record is at most RECORD_MAXIMUM bytes of JSON, whatever a client sends.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

TEXT_MAXIMUM = 512  # of one value; see `safe_text`
RECORD_MAXIMUM = 2048  # bytes of JSON of a whole record
DENIED = "denied"  # the verdict on a pull that the upstream refused


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
    peer_address: str = ""  # the load balancer that forwarded it, where `client_address` is what the balancer says


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """What came of it. `status` is the HTTP status answered, `bytes` what was sent, `duration` milliseconds.

    `count` is how many like requests the record stands for: repeats beyond a budget are recorded together.
    """

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
    count: int = 1


def new_event_id() -> str:
    """``evt_`` and 24 hexadecimal digits (96 random bits)."""
    return "evt_" + secrets.token_hex(12)


def safe_text(text: str, maximum: int = TEXT_MAXIMUM) -> str:
    """`text` on one line: control characters and lone surrogates escaped as ``\\xNN`` and ``\\uNNNN``, cut at `maximum`.

    A character outside of ASCII counts as the 6 or 12 bytes that JSON stores it with.
    """
    if text.isascii() and text.isprintable():
        return text if len(text) <= maximum else text[: maximum - 1] + "…"
    kept: list[str] = []
    left = maximum
    for character in text[: maximum + 1]:
        safe = character if character.isprintable() else _escaped(character)
        cost = len(safe) if safe.isascii() else 6 if safe <= "\uffff" else 12
        if cost > left:
            break
        kept.append(safe)
        left -= cost
    else:
        return "".join(kept)
    while kept and left < 1:
        left += len(kept.pop())
    return "".join(kept) + "…"


def verdict_of(outcome: AuditOutcome) -> str:
    """The result as a person asks for it: a failure that the upstream answered with "no" (4xx) is a refusal too, DENIED."""
    if outcome.result is Result.FAILED and outcome.gate == "upstream" and 400 <= outcome.status < 500:
        return DENIED
    return str(outcome.result)


# Asked once: every pull writes two of these, and `dataclasses.asdict` would take longer than the gates.
_EVENT_NAMES = tuple(field.name for field in fields(AuditEvent))
_OUTCOME_NAMES = tuple(field.name for field in fields(AuditOutcome))


def safe_event(event: AuditEvent) -> AuditEvent:
    """`event` with every text made safe, and all of it within RECORD_MAXIMUM."""
    return AuditEvent(**_bounded({name: _safe(getattr(event, name)) for name in _EVENT_NAMES}))


def safe_outcome(outcome: AuditOutcome) -> AuditOutcome:
    """`outcome` with every text made safe, and all of it within RECORD_MAXIMUM."""
    return AuditOutcome(**_bounded({name: _safe(getattr(outcome, name)) for name in _OUTCOME_NAMES}))


def payload_of(record: AuditEvent | AuditOutcome) -> dict[str, Any]:
    """The record's fields by name, as they are; a count of one and a peer that is the client are left out."""
    if isinstance(record, AuditEvent):
        return {name: getattr(record, name) for name in _EVENT_NAMES if name != "peer_address" or record.peer_address}
    return {name: getattr(record, name) for name in _OUTCOME_NAMES if name != "count" or record.count != 1}


def event_of(payload: dict[str, Any]) -> AuditEvent:
    """The event of a stored payload; members of later releases are passed over."""
    known = {name: payload[name] for name in _EVENT_NAMES if name in payload}
    return AuditEvent(**(known | {"operation": Operation(payload["operation"])}))


def outcome_of(payload: dict[str, Any]) -> AuditOutcome:
    """The outcome of a stored payload; members of later releases are passed over."""
    known = {name: payload[name] for name in _OUTCOME_NAMES if name in payload}
    return AuditOutcome(**(known | {"result": Result(payload["result"])}))


def _safe(value: Any) -> Any:
    return safe_text(value) if type(value) is str else value


def _bounded(values: dict[str, Any]) -> dict[str, Any]:
    """`values`, the longest texts cut until they fit; what is ours (ids, results) is far shorter than what is cut."""
    texts = [value for value in values.values() if type(value) is str]
    if sum(map(len, texts)) < RECORD_MAXIMUM // 3 and all(map(str.isascii, texts)):
        return values
    while len(json.dumps(values, separators=(",", ":"))) > RECORD_MAXIMUM:
        longest = max(values, key=lambda name: _stored(values[name]))
        values[longest] = safe_text(values[longest], len(values[longest]) * 3 // 4)
    return values


def _stored(value: Any) -> int:
    return len(json.dumps(value)) - 2 if type(value) is str else 0


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
