"""Long lists in a sentence."""

from __future__ import annotations

from collections.abc import Sequence


def and_more(items: Sequence[object], shown: int, *, separator: str = ", ") -> str:
    """The first `shown` items, and how many more there are: ``a, b and 3 more``."""
    more = len(items) - shown
    return separator.join(map(str, items[:shown])) + (f" and {more} more" if more > 0 else "")
