"""Times as RFC 3339 text in UTC, with "Z", as Kubernetes and JSON have them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339(moment: datetime | float | None, precision: str = "seconds") -> str:
    """`moment` as ``2030-01-31T12:00:00Z``; "" for None.

    A float is seconds since 1970. `precision` is "seconds", "milliseconds" or "microseconds"; what is finer is cut off.
    """
    if moment is None:
        return ""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


@lru_cache(maxsize=1024)
def parse_rfc3339(text: str) -> datetime | None:
    """In UTC; None when `text` is not a time with an offset. Cached, because objects made together bear the same times."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value.astimezone(UTC) if value.tzinfo else None
