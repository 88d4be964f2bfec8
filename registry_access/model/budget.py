"""A token bucket, on whatever clock it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """`at_once` at first, then `per_second`. `clock` is monotonic, in seconds."""

    per_second: float
    at_once: float
    clock: Callable[[], float]
    _left: float = field(init=False)
    _filled: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._filled = self.at_once, self.clock()

    def take(self) -> bool:
        """Whether one more is within the budget."""
        now = self.clock()
        self._left = min(self.at_once, self._left + (now - self._filled) * self.per_second)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
