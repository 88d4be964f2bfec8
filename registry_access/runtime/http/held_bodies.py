"""How many bytes of unfinished request bodies a process holds at once. When there are too many, the heaviest give way.

A small request is not refused because others are large. Room is made by refusing bodies that have been arriving for a second
already, the largest first, and then the largest of the others. What arrives whole is never held, so it is never refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

_STALE_SECONDS = 1.0  # a body that a working client sends is complete long before
_ROOM_AFTERWARDS = 0.75  # of the maximum, so that not every byte makes somebody give way


class Holder(Protocol):
    """A connection in the middle of a body."""

    def give_way(self) -> None:
        """Forgets the body and refuses the request."""


class HeldBodies:
    """`maximum` in bytes; `changed` is called with the sum whenever it changes."""

    def __init__(
        self, maximum: int, changed: Callable[[int], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.maximum = maximum
        self._changed = changed
        self._clock = clock
        self._held: dict[Holder, tuple[int, float]] = {}
        self._sum = 0

    def hold(self, holder: Holder, size: int) -> None:
        """`holder` now has `size` bytes of a body that is not complete. May make others, or itself, give way."""
        before, since = self._held.get(holder, (0, self._clock()))
        self._held[holder] = (size, since)
        self._sum += size - before
        if self._sum > self.maximum:
            self._make_room()
        self._changed(self._sum)

    def release(self, holder: Holder) -> None:
        """The body is complete, or the connection is gone."""
        size, _ = self._held.pop(holder, (0, 0.0))
        if size:
            self._sum -= size
            self._changed(self._sum)

    def _make_room(self) -> None:
        now = self._clock()

        def weight(item: tuple[Holder, tuple[int, float]]) -> tuple[bool, int]:
            size, since = item[1]
            return now - since >= _STALE_SECONDS, size

        for holder, (size, _) in sorted(self._held.items(), key=weight, reverse=True):
            if self._sum <= self.maximum * _ROOM_AFTERWARDS:
                return
            del self._held[holder]
            self._sum -= size
            holder.give_way()
