"""Waiting longer after every failure, each process differently."""

from __future__ import annotations

import random


class Backoff:
    """0.25 s, doubled after each failure up to 8 s, plus as much again at random: well inside the staleness limit."""

    def __init__(self, first: float = 0.25, maximum: float = 8.0) -> None:
        self._first = first
        self._maximum = maximum
        self._next = first

    def next(self, at_least: float = 0.0) -> float:
        """Seconds to wait now; `at_least` is what a server asked for (Retry-After)."""
        wait = self._next * (1 + random.random())  # noqa: S311 - jitter, not a secret
        self._next = min(self._next * 2, self._maximum)
        return max(wait, at_least)

    def reset(self) -> None:
        self._next = self._first
