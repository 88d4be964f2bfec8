"""Is this process alive, and may it be sent work? Named checks, each a sentence when it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Check = Callable[[], str]  # "" when well, else what is wrong
Fact = Callable[[], Mapping[str, str]]


class Health:
    """Liveness is the event loop answering at all; readiness is every check passing and no shutdown under way."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._concerns: dict[str, Check] = {}
        self._facts: dict[str, Fact] = {}
        self._stopping = False

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def add_concern(self, name: str, check: Check) -> None:
        """Something that a person must put right and that no other process does better: it is said, and traffic goes on."""
        self._concerns[name] = check

    def add_fact(self, name: str, fact: Fact) -> None:
        """What this process says of itself, for those who compare it with what is meant."""
        self._facts[name] = fact

    def stop(self) -> None:
        """Not ready from now on: the process drains."""
        self._stopping = True

    def failures(self) -> Mapping[str, str]:
        """What is wrong, by check; empty when ready."""
        failed = {name: problem for name, check in self._checks.items() if (problem := check())}
        return failed | ({"shutdown": "the process is stopping"} if self._stopping else {})

    def concerns(self) -> Mapping[str, str]:
        """What is wrong and does not end readiness, by check."""
        return {name: problem for name, check in self._concerns.items() if (problem := check())}

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        return {name: fact() for name, fact in self._facts.items()}
