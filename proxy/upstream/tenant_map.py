"""A bounded memory that tenants share without pushing each other out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Key = tuple[str, ...]
V = TypeVar("V")
PLACE = 4096  # characters that one place of the memory holds: upstreams choose how long tokens and names are


class TenantMap(Generic[V]):
    """Keys begin with the workspace and contain the credential's UID. When it is full, the workspace that holds most loses its
    oldest entry: many repositories of one never cost another what is remembered for it.

    `maximum` counts places. An entry takes one for each 4,096 characters of its key and of its value, which `weigh` counts.
    """

    def __init__(self, maximum: int, weigh: Callable[[V], int] = lambda _: 0) -> None:
        self._maximum = maximum
        self._weigh = weigh
        self._tenants: dict[str, dict[Key, tuple[V, int]]] = {}
        self._places: dict[str, int] = {}
        self._taken = 0

    def __len__(self) -> int:
        return sum(map(len, self._tenants.values()))

    def get(self, key: Key) -> V | None:
        found = self._tenants.get(key[0], {}).get(key)
        return found[0] if found else None

    def put(self, key: Key, value: V) -> None:
        places = 1 + (sum(map(len, key)) + self._weigh(value)) // PLACE
        self.pop(key)
        if places > self._maximum:
            return
        self._tenants.setdefault(key[0], {})[key] = (value, places)  # the newest
        self._take(key[0], places)
        while self._taken > self._maximum:
            largest = max(self._places, key=self._places.__getitem__)
            self.pop(next(iter(self._tenants[largest])))

    def pop(self, key: Key) -> None:
        entries = self._tenants.get(key[0])
        if entries is None or (found := entries.pop(key, None)) is None:
            return
        if not entries:
            del self._tenants[key[0]]
        self._take(key[0], -found[1])

    def forget(self, uid: str) -> None:
        """Drops every entry of a credential."""
        for entries in list(self._tenants.values()):
            for key in [key for key in entries if uid in key]:
                self.pop(key)

    def _take(self, tenant: str, places: int) -> None:
        self._taken += places
        self._places[tenant] = self._places.get(tenant, 0) + places
        if not self._places[tenant]:
            del self._places[tenant]
