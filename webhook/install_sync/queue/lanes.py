"""Who waits for what: a lane for each cluster, so that a slow one holds up only its own installs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from webhook.install_sync.objects.ownership import Name


@dataclass(slots=True)
class _Lane:
    under_way: int = 0
    waiting: deque[Name] = field(default_factory=deque)


class Lanes:
    """At most `at_once` names are under way in a lane; the others wait in order, each once, and cost no task meanwhile."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._lanes: dict[str, _Lane] = {}
        self._open: set[str] = set()  # lanes that have room and somebody waiting
        self._waiting: set[Name] = set()

    def enter(self, lane: str, name: Name) -> None:
        """Waits in `lane`, unless `name` waits already."""
        if name in self._waiting:
            return
        self._waiting.add(name)
        self._lanes.setdefault(lane, _Lane()).waiting.append(name)
        self._open_or_close(lane)

    def take(self) -> tuple[str, Name] | None:
        """A lane and the name whose turn it is there, under way from now on; None when nobody may begin."""
        if not self._open:
            return None
        lane = next(iter(self._open))
        found = self._lanes[lane]
        name = found.waiting.popleft()
        self._waiting.discard(name)
        found.under_way += 1
        self._open_or_close(lane)
        return lane, name

    def leave(self, lane: str) -> None:
        """One that was under way in `lane` is done."""
        if (found := self._lanes.get(lane)) is not None:
            found.under_way -= 1
            self._open_or_close(lane)

    def waits(self, name: Name) -> bool:
        return name in self._waiting

    def _open_or_close(self, lane: str) -> None:
        found = self._lanes[lane]
        if found.waiting and found.under_way < self._at_once:
            self._open.add(lane)
            return
        self._open.discard(lane)
        if not found.waiting and not found.under_way:
            del self._lanes[lane]
