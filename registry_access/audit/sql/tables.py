"""The table, and how a record is hashed.

A record is an intent or an outcome. Its hash is the SHA-256 of the previous hash, writer, kind, event id and payload, one a
line; the first record of a writer follows 64 zeros. Editing, removing, inserting or reordering records breaks every hash behind.
Cutting records off the end does not show in the chain itself: compare the head that `akua audit verify` prints with one kept
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

GENESIS = "0" * 64
INTENT, OUTCOME = "intent", "outcome"

metadata = MetaData()
records = Table(
    "audit_records",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("writer", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("time", BigInteger, nullable=False),  # epoch milliseconds
    Column("workspace", String(255), nullable=False, default=""),
    Column("install", String(255), nullable=False, default=""),
    Column("registry", String(255), nullable=False, default=""),
    Column("repository", String(255), nullable=False, default=""),
    Column("operation", String(32), nullable=False, default=""),
    Column("result", String(16), nullable=False, default=""),
    Column("payload", Text, nullable=False),  # canonical JSON of the event or outcome
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_records_event", "event_id", "kind", unique=True),
    Index("audit_records_install", "workspace", "install", "sequence"),
    Index("audit_records_repository", "registry", "repository", "sequence"),
    Index("audit_records_time", "time"),
)


def canonical(payload: Mapping[str, Any]) -> str:
    """JSON with sorted names, no spaces, ASCII only: the same bytes for the same values everywhere."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def chained_hash(previous: str, writer: str, kind: str, event_id: str, payload: str) -> str:
    """The hash of a record behind `previous`."""
    return hashlib.sha256("\n".join((previous, writer, kind, event_id, payload)).encode()).hexdigest()
