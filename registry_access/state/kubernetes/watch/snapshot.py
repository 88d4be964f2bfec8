"""A scope's whole state, taken in piece by piece: nobody holds thousands of manifests, and nothing that is there goes missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry_access.model.resources import Key
from registry_access.state.kubernetes.watch.feed import is_older, version_in


class Snapshot:
    """Each object is shown as it comes; `finish` removes those of `held` (resource versions) that did not come.

    Until the state's version is known (`trust`), objects wait that are not held, or were seen in a later version: a stale replica
    or a backup must not bring back what was deleted since. `first`: nothing was ever seen, so there is nothing to bring back.
    """

    def __init__(
        self,
        held: Mapping[Key, str],
        put: Callable[[Key, dict[str, Any]], None],
        remove: Callable[[Key], None],
        *,
        first: bool,
    ) -> None:
        self._held = held
        self._put = put
        self._remove = remove
        self._trusted = first
        self._came: set[Key] = set()
        self._waiting: dict[Key, dict[str, Any]] = {}

    def take(self, key: Key, item: dict[str, Any]) -> None:
        self._came.add(key)
        known = self._held.get(key)
        if self._trusted or (known is not None and not is_older(version_in(item), known)):
            self._put(key, item)
        else:
            self._waiting[key] = item

    def drop(self, key: Key) -> None:
        """The object was deleted while the state was being told."""
        self._came.discard(key)
        self._waiting.pop(key, None)

    def trust(self) -> None:
        """The state is not older than what was seen before."""
        self._trusted = True
        for key, item in self._waiting.items():
            self._put(key, item)
        self._waiting.clear()

    def finish(self) -> None:
        """All of the state has come."""
        self.trust()
        for key in self._held.keys() - self._came:
            self._remove(key)
