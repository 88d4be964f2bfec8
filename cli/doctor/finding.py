"""What a look at one thing found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cli.presentation import span

EXPIRY_WARNING_DAYS = 14


class Finding(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `detail` says what was found; for what is not good, also how to mend it."""

    name: str
    finding: Finding
    detail: str

    @property
    def noun(self) -> str:
        """What kind of thing it is: the name's first word."""
        return self.name.partition(" ")[0]


def good(name: str, detail: str) -> Check:
    return Check(name, Finding.GOOD, detail)


def warning(name: str, detail: str) -> Check:
    return Check(name, Finding.WARNING, detail)


def bad(name: str, detail: str) -> Check:
    return Check(name, Finding.BAD, detail)


def expiry(name: str, what: str, end: datetime, now: datetime, remedy: str) -> Check:
    """Of a certificate that is good until `end`."""
    left = (end - now).total_seconds()
    if left <= 0:
        return bad(name, f"{what} expired at {end:%Y-%m-%d %H:%M}Z; {remedy}")
    if left < EXPIRY_WARNING_DAYS * 86400:
        return warning(name, f"{what} is good for {span(left)} only; {remedy}")
    return good(name, f"{what} is good for {span(left)}")


def condensed(checks: Sequence[Check], at_most: int) -> list[Check]:
    """Of each noun of which more than `at_most` are good, those are one line; everything else stays as it is."""
    counts = Counter(check.noun for check in checks if check.finding is Finding.GOOD)
    told: set[str] = set()
    shown: list[Check] = []
    for check in checks:
        if check.finding is not Finding.GOOD or counts[check.noun] <= at_most:
            shown.append(check)
        elif check.noun not in told:
            told.add(check.noun)
            shown.append(good(f"{check.noun}s", f"{counts[check.noun]} are as they should be; `-o json` lists them"))
    return shown
