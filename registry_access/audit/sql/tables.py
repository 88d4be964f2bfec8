"""The two tables, and how their rows are hashed.

`audit_records` holds intents and outcomes. Each process life writes a chain of its own: records numbered from 1 without gaps,
each hashed together with the hash before it. Editing, removing, inserting or reordering records breaks every hash behind them.

`audit_register` is one chain that all processes share. An entry of kind `opened` begins a chain, whose first record follows that
entry's hash. An entry of kind `seal` names the heads of the chains that moved. An entry of kind `resumed` ends a time in which
nothing could be written. A chain that was removed, or cut behind its last seal, is missed by name. What was written after the
newest seal can still be cut off the end: compare the register's head that `akua audit verify` prints with one kept elsewhere.

Records without a number are older than the register. They keep the hash rule under which they were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

GENESIS = "0" * 64
INTENT, OUTCOME = "intent", "outcome"
OPENED, SEAL, RESUMED = "opened", "seal", "resumed"
LABEL_MAXIMUM = 255  # characters of a column that is filtered by
WRITER_MAXIMUM = 64

_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()
records = Table(
    "audit_records",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("writer", String(WRITER_MAXIMUM), nullable=False),
    Column("number", BigInteger),  # from 1, dense for each writer; NULL in records older than the register
    Column("kind", String(8), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("time", BigInteger, nullable=False),  # epoch milliseconds
    Column("began", BigInteger),  # of an outcome: its event's time
    # An outcome has its event's labels too, so that one index answers "refusals of this install".
    Column("workspace", String(LABEL_MAXIMUM), nullable=False, default=""),
    Column("install", String(LABEL_MAXIMUM), nullable=False, default=""),
    Column("registry", String(LABEL_MAXIMUM), nullable=False, default=""),
    Column("repository", String(LABEL_MAXIMUM), nullable=False, default=""),
    Column("operation", String(32), nullable=False, default=""),
    Column("result", String(16), nullable=False, default=""),
    Column("verdict", String(16), nullable=False, default=""),  # the result; DENIED where the upstream refused
    Column("payload", Text, nullable=False),  # canonical JSON of the event or outcome
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_records_event", "event_id", "kind", unique=True),
)
register = Table(
    "audit_register",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=False),  # from 1, dense
    Column("kind", String(8), nullable=False),
    Column("writer", String(WRITER_MAXIMUM)),  # of the chain that was opened; NULL in a seal
    Column("payload", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_register_writer", "writer", unique=True),
)

LABELS = ("workspace", "install", "registry", "repository", "operation")
_HASHED = ("kind", "event_id", "time", "began", *LABELS, "result", "verdict", "payload")


def canonical(payload: Mapping[str, Any]) -> str:
    """JSON with sorted names, no spaces, ASCII only: the same bytes for the same values everywhere."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def legacy_hash(previous: str, writer: str, kind: str, event_id: str, payload: str) -> str:
    """The hash of a record without a number."""
    return _digest(previous, writer, kind, event_id, payload)


def record_hash(previous: str, writer: str, number: int, values: Mapping[str, Any]) -> str:
    """The hash of record `number` behind `previous`; `values` are its columns. Every column is covered."""
    said = ("" if values[name] is None else str(values[name]) for name in _HASHED)
    return _digest("akua-audit/2", previous, writer, str(number), *said)


def register_hash(previous: str, number: int, kind: str, writer: str | None, payload: str) -> str:
    """The hash of entry `number` of the register behind `previous`."""
    return _digest("akua-register/1", previous, str(number), kind, writer or "", payload)


def _digest(*lines: str) -> str:
    # No line but the last can hold a line feed: labels are escaped, the rest is ours.
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
