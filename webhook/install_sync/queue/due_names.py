"""When each install is to be looked at: at most one entry each, the earliest wins."""

from __future__ import annotations

import heapq

from webhook.install_sync.objects.ownership import Name


class DueNames:
    """Times are of any one clock. Adding, asking and taking cost O(log n), whatever the number of installs."""

    def __init__(self) -> None:
        self._due: dict[Name, float] = {}
        self._heap: list[tuple[float, Name]] = []

    def add(self, name: Name, due: float) -> None:
        """An earlier time that is there already stays."""
        if due < self._due.get(name, float("inf")):
            self._due[name] = due
            heapq.heappush(self._heap, (due, name))

    def take(self, now: float) -> Name | None:
        """The name that has been due longest, taken out; None when none is due."""
        first = self.next_due()
        if first is None or first > now:
            return None
        _, name = heapq.heappop(self._heap)
        del self._due[name]
        return name

    def next_due(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # superseded by an earlier time
        return self._heap[0][0] if self._heap else None

    def is_due(self, name: Name, now: float) -> bool:
        return self._due.get(name, float("inf")) <= now
