"""Circuits, so that a dead registry costs its own pulls a moment and others nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.upstream.errors import CircuitOpen
from proxy.upstream.tenant_map import Key, TenantMap

_MAXIMUM = 10_000


@dataclass(slots=True)
class _State:
    failures: int = 0
    doubts: int = 0
    open_until: float = 0.0


class Circuits:
    """One circuit a key, which ends with the registry's host. It opens after `failures` in a row for `seconds`; then one try
    decides.

    Only what says that the registry itself is down is a failure: no connection to its own host. What one object meets (a 5xx,
    silence) is a doubt; after as many doubts in a row the registry is to be asked for itself.
    """

    def __init__(self, failures: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._states: TenantMap[_State] = TenantMap(_MAXIMUM)

    def check(self, key: Key | str) -> None:
        """Raises CircuitOpen while the circuit is open."""
        key = _key(key)
        state = self._states.get(key)
        if state and self._limit and state.failures >= self._limit:
            now = self._clock()
            if now < state.open_until:
                left = state.open_until - now
                raise CircuitOpen(
                    f"{key[-1]} failed {state.failures} times in a row; it is asked again in {left:.0f} s",
                    str(max(1, math.ceil(left))),
                )
            state.open_until = now + self._seconds  # this caller tries; the others wait for its outcome

    def succeeded(self, key: Key | str) -> None:
        """The registry answered, and not with a 5xx."""
        self._states.pop(_key(key))

    def failed(self, key: Key | str) -> bool:
        """The registry's own host could not be connected to. Whether that opened its circuit."""
        state = self._state(key)
        state.failures += 1
        state.open_until = self._clock() + self._seconds
        return state.failures == self._limit

    def doubted(self, key: Key | str) -> bool:
        """An object was answered with a 5xx, or not in time. Whether the registry itself is to be asked now."""
        state = self._state(key)
        state.doubts += 1
        return bool(self._limit) and (state.doubts >= self._limit or state.failures >= self._limit)

    def open(self, key: Key | str) -> bool:
        """The registry itself does not answer, or with a 5xx. Whether that opened its circuit, which was closed before."""
        state = self._state(key)
        was_open = state.failures >= self._limit
        state.failures = max(self._limit, state.failures)
        state.open_until = self._clock() + self._seconds
        return not was_open

    def forget(self, uid: str) -> None:
        self._states.forget(uid)

    def _state(self, key: Key | str) -> _State:
        key = _key(key)
        state = self._states.get(key)
        if state is None:
            state = _State()
            self._states.put(key, state)
        return state


def _key(key: Key | str) -> Key:
    return (key,) if isinstance(key, str) else key
