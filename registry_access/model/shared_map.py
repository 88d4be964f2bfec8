"""Small read-only maps, of which equal ones are one object: thousands of grants bear the same labels, and the pull Secrets of an
install hold the same token in every target namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

V = TypeVar("V")


class SharedMap(dict[str, V], Generic[V]):
    """A dictionary that refuses to be changed, and can be referred to weakly. `shared_map` makes them."""

    __slots__ = ("__weakref__",)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a shared map cannot be changed; make another")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


# A map goes with the last object that has it, and what was secret in it too.
_known: WeakValueDictionary[int, SharedMap[Any]] = WeakValueDictionary()
EMPTY: SharedMap[Any] = SharedMap()


def shared_map(entries: Mapping[str, V]) -> SharedMap[V]:
    """`entries`, whose values are hashable, as the one map that says this."""
    if not entries:
        return EMPTY
    number = hash(frozenset(entries.items()))
    known = _known.get(number)
    if known is None or known != entries:
        known = SharedMap((intern(key), _interned(value)) for key, value in entries.items())
        _known[number] = known
    return known


def _interned(value: Any) -> Any:
    return intern(value) if isinstance(value, str) else value
