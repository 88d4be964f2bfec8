"""A circuit per upstream, so that one dead registry costs its own pulls a moment and the others nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.upstream.errors import UpstreamUnreachable


@dataclass(slots=True)
class _State:
    failures: int = 0
    open_until: float = 0.0


class Circuits:
    """Opens after `failures` in a row, for `seconds`; then one try decides."""

    def __init__(self, failures: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._states: dict[str, _State] = {}

    def check(self, registry: str) -> None:
        """Raises UpstreamUnreachable while the circuit is open."""
        state = self._states.get(registry)
        if state and state.failures >= self._limit:
            now = self._clock()
            if now < state.open_until:
                raise UpstreamUnreachable(
                    f"{registry} failed {state.failures} times in a row; it is asked again in {state.open_until - now:.0f} s"
                )
            state.open_until = now + self._seconds  # this caller tries; the others wait for its outcome

    def succeeded(self, registry: str) -> None:
        self._states.pop(registry, None)

    def failed(self, registry: str) -> None:
        state = self._states.setdefault(registry, _State())
        state.failures += 1
        state.open_until = self._clock() + self._seconds
