"""Scopes: what parses, what is refused, what they open."""

from __future__ import annotations

import pytest

from proxy.protocol.scope import Scope, parse_scope, parse_scopes
from registry_access.model.errors import InvalidScope


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:ghcr.io/a/b:pull", Scope("repository", "ghcr.io/a/b", frozenset({"pull"}))),
        ("repository:a:pull,push", Scope("repository", "a", frozenset({"pull", "push"}))),
        ("repository(plugin):a:pull", Scope("repository", "a", frozenset({"pull"}))),
        ("repository:host:5000/a:pull", Scope("repository", "host:5000/a", frozenset({"pull"}))),
        ("registry:catalog:*", Scope("registry", "catalog", frozenset({"*"}))),
        ("repository:a:", Scope("repository", "a", frozenset())),
    ],
)
def test_scopes(text: str, expected: Scope) -> None:
    assert parse_scope(text) == expected
    assert parse_scope(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "repository", "repository:a", ":a:pull", "repository::pull", "Repo:a:pull", "repository:a:PULL", "a:b:" + "c" * 2000],
)
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scope(text)


def test_scopes_are_joined_repeated_and_forgiven() -> None:
    scopes = parse_scopes(["repository:ghcr.io/a/b:pull nonsense", "repository:c:pull", ""])
    assert [scope.name for scope in scopes] == ["ghcr.io/a/b", "c"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("repository:docker.io/redis:pull", ("docker.io", "library/redis")),
        ("repository:_x/redis:pull", None),
        ("repository:UPPER/redis:pull", None),
        ("repository:a__5/redis:pull", None),
        ("registry:catalog:*", None),
    ],
)
def test_the_repository_of_a_scope(scope: str, expected: tuple[str, str] | None) -> None:
    assert parse_scope(scope).repository() == expected


@pytest.mark.parametrize(
    ("text", "pulls"),
    [
        ("repository:ghcr.io/acme/app:pull", True),
        ("repository:ghcr.io/acme/app:pull,push", True),
        ("repository:ghcr.io/acme/app:push", False),
        ("repository:ghcr.io/acme/other:pull", False),
        ("registry:ghcr.io/acme/app:pull", False),
    ],
)
def test_a_scope_pulls_its_own_repository_only(text: str, pulls: bool) -> None:
    assert parse_scope(text).pulls("ghcr.io/acme/app") is pulls
