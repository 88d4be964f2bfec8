"""How registries want to be asked, remembered for each workspace's credential, and for a repository that asks otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.upstream.tenant_map import Key, TenantMap
from proxy.upstream.tokens.challenge import Challenge

_SECONDS = 3600.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class RegistryProfile:
    """How a registry, or one repository of it, wants to be asked. No `challenge`: it asks for no login. `plain`: by HTTP."""

    challenge: Challenge | None
    plain: bool = False


class RegistryProfiles:
    """What registries asked for within the last hour."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: TenantMap[tuple[RegistryProfile, float]] = TenantMap(_REMEMBERED)

    def get(self, key: Key, repository: str = "") -> RegistryProfile | None:
        """What was remembered for the repository ("": the registry), unless that is too old."""
        known = self._known.get((*key, repository))
        return known[0] if known and self._clock() < known[1] else None

    def remember(self, key: Key, profile: RegistryProfile, repository: str = "") -> None:
        self._known.put((*key, repository), (profile, self._clock() + _SECONDS))

    def drop(self, key: Key, repository: str = "") -> None:
        self._known.pop((*key, repository))

    def forget(self, uid: str) -> None:
        self._known.forget(uid)
