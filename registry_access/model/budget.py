"""A token bucket, on whatever clock it is given."""

from __future__ import annotations

import math
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
        """Whether one more is within the budget; then it is counted."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self) -> float:
        """Seconds until one more is within the budget; 0: now, infinity: never. Counts nothing."""
        self._fill()
        if self._left >= 1:
            return 0.0
        return (1 - self._left) / self.per_second if self.per_second else math.inf

    def _fill(self) -> None:
        now = self.clock()
        self._left = min(self.at_once, self._left + (now - self._filled) * self.per_second)
        self._filled = now
