"""Maps that are held thousands of times, once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from registry_access.model.shared_map import EMPTY, SharedMap, shared_map


def test_equal_maps_are_one_object_and_differing_ones_are_not() -> None:
    first = shared_map({"app": "shop", "tier": "web"})
    assert shared_map({"tier": "web", "app": "shop"}) is first
    assert hash(first) == hash(SharedMap({"tier": "web", "app": "shop"}))
    assert shared_map({"app": "shop"}) != first
    assert shared_map({}) is EMPTY


@pytest.mark.parametrize(
    "change",
    [
        lambda shared: shared.__setitem__("app", "other"),
        lambda shared: shared.update(app="other"),
        lambda shared: shared.pop("app"),
        lambda shared: shared.clear(),
        lambda shared: shared.setdefault("more", "x"),
    ],
)
def test_what_all_share_nobody_changes(change: Callable[[SharedMap[Any]], Any]) -> None:
    shared = shared_map({"app": "shop"})
    with pytest.raises(TypeError, match="cannot be changed"):
        change(shared)
    assert shared == {"app": "shop"}
    assert {**shared, "more": "x"} == shared | {"more": "x"} == {"app": "shop", "more": "x"}


def test_a_secret_value_goes_with_the_last_who_holds_it() -> None:
    held = shared_map({"password": b"canary"})
    watcher = weakref.ref(held)
    assert shared_map({"password": b"canary"}) is held
    del held
    gc.collect()
    assert watcher() is None
