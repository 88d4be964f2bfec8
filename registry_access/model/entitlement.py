"""What an install may pull: its own repositories and those of the product it was given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry_access.model.names.repository_pattern import RepositoryPattern


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A set of patterns, sorted and without repeats."""

    patterns: tuple[RepositoryPattern, ...]

    def covers(self, registry: str, repository: str) -> RepositoryPattern | None:
        """The first pattern that covers the repository, or None: not entitled."""
        return next((pattern for pattern in self.patterns if pattern.covers(registry, repository)), None)


def entitlement_of(*sources: Iterable[RepositoryPattern]) -> Entitlement:
    """The union of `sources`, such as an install's own repositories and its product's."""
    return Entitlement(tuple(sorted({pattern for source in sources for pattern in source})))
