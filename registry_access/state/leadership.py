"""One process of many does the work that must not be done twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Work = Callable[[], Awaitable[None]]


class Leadership(Protocol):
    """The leader runs the work, which is cancelled and awaited before another process can take over."""

    async def lead(self, work: Work) -> None:
        """Waits to become leader, runs `work` while leading, and starts over, until cancelled."""
        ...
