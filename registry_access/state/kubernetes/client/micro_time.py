"""MicroTime (meta/v1): exactly six decimals, or the API server refuses it."""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(moment: datetime | None = None) -> str:
    """`moment`, or now, as ``2026-01-31T12:00:00.000000Z``."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
