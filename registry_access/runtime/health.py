"""Is this process alive, and may it be sent work? Named checks, each a sentence when it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Check = Callable[[], str]  # "" when well, else what is wrong


class Health:
    """Liveness is the event loop answering at all; readiness is every check passing and no shutdown under way."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._stopping = False

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def stop(self) -> None:
        """Not ready from now on: the process drains."""
        self._stopping = True

    def failures(self) -> Mapping[str, str]:
        """What is wrong, by check; empty when ready."""
        failed = {name: problem for name, check in self._checks.items() if (problem := check())}
        return failed | ({"shutdown": "the process is stopping"} if self._stopping else {})
