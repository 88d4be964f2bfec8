"""An audit row formatted for a script, a spreadsheet or a person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from registry_access.audit.interface import AuditRow
from registry_access.model.audit_event import AuditEvent, Operation, Result
from registry_access.model.timestamp import rfc3339

COLUMNS = ("time", "install", "operation", "image", "result", "reason", "bytes", "who")
_COLOURS = {Result.ALLOWED: "green", Result.REFUSED: "red", Result.FAILED: "yellow", Result.CUT: "magenta"}
_AGENT_MAXIMUM = 40
# Characters that start a formula in a spreadsheet, at the start of a cell or after a separator of some locale. The full-width
# forms are included because some spreadsheets treat them alike.
_FORMULA = re.compile(r"(^|[;,\t|])(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def flat(row: AuditRow) -> dict[str, Any]:
    """A row for scripts: event and outcome in one object. The outcome's members are null while the event is in progress."""
    event, outcome = row.event, row.outcome
    return {
        "sequence": row.sequence,
        "time": rfc3339(event.time / 1000, "milliseconds"),
        "event_id": event.id,
        "decision_id": event.decision_id,
        "workspace": event.workspace,
        "install": event.install,
        "operation": str(event.operation),
        "registry": event.registry,
        "repository": event.repository,
        "reference": event.reference,
        "result": str(outcome.result) if outcome else None,
        "gate": outcome.gate if outcome else None,
        "reason": outcome.reason if outcome else None,
        "detail": outcome.detail if outcome else None,
        "status": outcome.status if outcome else None,
        "digest": outcome.digest if outcome else None,
        "bytes": outcome.bytes if outcome else None,
        "count": outcome.count if outcome else None,
        "duration_ms": outcome.duration if outcome else None,
        "credential": outcome.credential if outcome else None,
        "client_address": event.client_address,
        "user_agent": event.user_agent,
        "install_uid": event.install_uid,
        "token_id": event.token_id,
        "pod": event.pod,
        "owner": event.owner,
        "peer_address": event.peer_address,
    }


def spreadsheet(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for CSV: text that a spreadsheet would run as a formula gets an apostrophe before it. JSON is the exact form."""
    return {name: _FORMULA.sub(r"\1\2'", value) if isinstance(value, str) else value for name, value in values.items()}


def cells(row: AuditRow) -> list[str | Text]:
    event, outcome = row.event, row.outcome
    reference = event.reference[:19] + "…" if event.reference.startswith("sha256:") else event.reference
    separator = "@" if event.reference.startswith("sha256:") else ":"
    image = f"{event.registry}/{event.repository}{separator if reference else ''}{reference}" if event.registry else "-"
    return [
        datetime.fromtimestamp(event.time / 1000).astimezone().strftime("%m-%d %H:%M:%S"),
        event.install or "-",
        str(event.operation),
        image,
        _result(row),
        # A person looking for a refusal has its decision id from kubelet, an Event or a log line.
        f"{outcome.reason} {event.decision_id}" if outcome and outcome.reason else "-",
        f"{outcome.bytes:,}" if outcome and outcome.bytes else "-",
        _who(event),
    ]


def _result(row: AuditRow) -> Text:
    if row.outcome is None:
        return Text("under way", "dim")
    if row.event.operation is Operation.ADMISSION:
        return Text("admitted", "cyan")
    repeated = f" x{row.outcome.count:,}" if row.outcome.count > 1 else ""
    return Text(str(row.outcome.result) + repeated, _COLOURS[row.outcome.result])


def _who(event: AuditEvent) -> str:
    if event.operation is Operation.ADMISSION:
        return f"{event.pod} of {event.owner}" if event.owner else event.pod or "-"
    agent = event.user_agent.partition(" ")[0][:_AGENT_MAXIMUM]
    return " ".join(part for part in (event.client_address, agent) if part) or "-"
