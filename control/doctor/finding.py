"""The result of one check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from control.duration import span

EXPIRY_WARNING_DAYS = 14
_FORBIDDEN = "not allowed:"  # as state/kubernetes/client/api.py begins what RBAC refuses


class Finding(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNSEEN = "unseen"  # not checked because a right is missing


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `detail` says what was found and, unless that is good, how to fix it."""

    name: str
    finding: Finding
    detail: str

    @property
    def noun(self) -> str:
        """The kind of thing that was checked: the name's first word."""
        return self.name.partition(" ")[0]

    @property
    def workspace(self) -> str:
        """The workspace of an object such as ``install acme/shop``."""
        return self.name.partition(" ")[2].partition("/")[0]


def good(name: str, detail: str) -> Check:
    return Check(name, Finding.GOOD, detail)


def warning(name: str, detail: str) -> Check:
    return Check(name, Finding.WARNING, detail)


def bad(name: str, detail: str) -> Check:
    return Check(name, Finding.BAD, detail)


def unseen(name: str, problem: str, what: str = "cannot be looked at") -> Check:
    """Something that the API server did not show (`problem`, in its words). It is a fault only if the server is down."""
    return Check(name, Finding.UNSEEN if problem.startswith(_FORBIDDEN) else Finding.WARNING, f"{what}: {problem}")


def expiry(name: str, what: str, end: datetime, now: datetime, remedy: str) -> Check:
    """The check of a certificate that is valid until `end`."""
    left = (end - now).total_seconds()
    if left <= 0:
        return bad(name, f"{what} expired at {end:%Y-%m-%d %H:%M}Z; {remedy}")
    if left < EXPIRY_WARNING_DAYS * 86400:
        return warning(name, f"{what} is good for {span(left)} only; {remedy}")
    return good(name, f"{what} is good for {span(left)}")


def condensed(checks: Sequence[Check], at_most: int) -> list[Check]:
    """Combines good checks of a noun into one line if there are more than `at_most`, and all unseen checks into another."""
    counts = Counter(check.noun for check in checks if check.finding is Finding.GOOD)
    shown_nouns: set[str] = set()
    shown: list[Check] = []
    hidden = [check.name for check in checks if check.finding is Finding.UNSEEN]
    for check in checks:
        if check.finding is Finding.UNSEEN:
            continue
        if check.finding is not Finding.GOOD or counts[check.noun] <= at_most:
            shown.append(check)
        elif check.noun not in shown_nouns:
            shown_nouns.add(check.noun)
            shown.append(good(f"{check.noun}s", f"{counts[check.noun]} are healthy; use `-o json` to list them"))
    if hidden:
        remedy = "use `-o json` to see which right each one needs"
        shown.append(Check("not looked at", Finding.UNSEEN, f"you lack the rights to see: {', '.join(hidden)}; {remedy}"))
    return shown
