"""A bounded memory that tenants share without pushing each other out."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = tuple[str, ...]
V = TypeVar("V")


class TenantMap(Generic[V]):
    """Keys begin with the workspace and contain the credential's UID. When it is full, the workspace that holds most loses its
    oldest entry: many repositories of one never cost another what is remembered for it.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._tenants: dict[str, dict[Key, V]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def get(self, key: Key) -> V | None:
        return self._tenants.get(key[0], {}).get(key)

    def put(self, key: Key, value: V) -> None:
        entries = self._tenants.setdefault(key[0], {})
        if entries.pop(key, None) is None:
            self._size += 1
        entries[key] = value  # the newest
        while self._size > self._maximum:
            largest = max(self._tenants.values(), key=len)
            self.pop(next(iter(largest)))

    def pop(self, key: Key) -> None:
        entries = self._tenants.get(key[0])
        if entries is not None and entries.pop(key, None) is not None:
            self._size -= 1
            if not entries:
                del self._tenants[key[0]]

    def forget(self, uid: str) -> None:
        """Drops every entry of a credential."""
        for entries in list(self._tenants.values()):
            for key in [key for key in entries if uid in key]:
                self.pop(key)
