"""One process of many does the work that must not be done twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Work = Callable[[], Awaitable[None]]


class Leadership(Protocol):
    """Whoever leads runs the work; it is cancelled, and its end awaited, before anybody else can take it for lost."""

    async def lead(self, work: Work) -> None:
        """Waits to be leader, runs `work` as long as that lasts, and begins again; until cancelled."""
        ...
