"""Times as text, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from registry_access.model.timestamp import parse_rfc3339, rfc3339

MOMENT = datetime(2030, 1, 31, 12, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("moment", "precision", "text"),
    [
        (MOMENT, "seconds", "2030-01-31T12:00:00Z"),
        (MOMENT, "milliseconds", "2030-01-31T12:00:00.123Z"),
        (MOMENT.replace(microsecond=0), "microseconds", "2030-01-31T12:00:00.000000Z"),
        (MOMENT.astimezone(timezone(timedelta(hours=2))), "seconds", "2030-01-31T12:00:00Z"),
        (MOMENT.timestamp(), "seconds", "2030-01-31T12:00:00Z"),
        (0, "seconds", "1970-01-01T00:00:00Z"),
        (None, "seconds", ""),
    ],
)
def test_written(moment: datetime | float | None, precision: str, text: str) -> None:
    assert rfc3339(moment, precision) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00.123456Z", MOMENT),
        ("2030-01-31T14:00:00.123456+02:00", MOMENT),
        ("2030-01-31T12:00:00", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_read(text: str, moment: datetime | None) -> None:
    assert parse_rfc3339(text) == moment
