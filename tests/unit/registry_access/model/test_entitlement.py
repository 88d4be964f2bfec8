"""What an install may pull."""

from __future__ import annotations

from registry_access.model.entitlement import entitlement_of
from registry_access.model.names.repository_pattern import parse_repository_pattern


def test_entitlements_are_the_union_without_repeats() -> None:
    own, bought = parse_repository_pattern("ghcr.io/a"), parse_repository_pattern("ghcr.io/b/*")
    entitlement = entitlement_of([own, own], [bought, own])
    assert entitlement.patterns == (own, bought)
    assert entitlement.covers("ghcr.io", "b/c") == bought
    assert entitlement.covers("ghcr.io", "c") is None
