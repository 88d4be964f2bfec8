"""Repository patterns: what they cover, and which is the most specific."""

from __future__ import annotations

import pytest

from registry_access.model.errors import InvalidRepositoryPattern
from registry_access.model.names.repository_pattern import parse_repository_pattern, parse_repository_prefix


@pytest.mark.parametrize(
    ("pattern", "registry", "repository", "covered"),
    [
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront", True),
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront/sub", False),
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront2", False),
        ("ghcr.io/acme/*", "ghcr.io", "acme/a/b", True),
        ("ghcr.io/acme/*", "ghcr.io", "acme", False),
        ("ghcr.io/acme/*", "ghcr.io", "acme2/a", False),
        ("ghcr.io/acme/*", "ghcr.io.evil.example", "acme/a", False),
        ("ghcr.io/*", "ghcr.io", "anything/at/all", True),
        ("docker.io/redis", "docker.io", "library/redis", True),
        ("index.docker.io/redis", "docker.io", "library/redis", True),
        ("localhost:5000/a", "localhost:5000", "a", True),
    ],
)
def test_patterns(pattern: str, registry: str, repository: str, covered: bool) -> None:
    parsed = parse_repository_pattern(pattern)
    assert parsed.covers(registry, repository) is covered
    assert parse_repository_pattern(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis",
        "acme/app",
        "ghcr.io",
        "ghcr.io/",
        "ghcr.io/Acme",
        "ghcr.io/a*",
        "ghcr.io/*/a",
        "*",
        "*/a",
        "https://ghcr.io/a",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(InvalidRepositoryPattern, match="write"):
        parse_repository_pattern(text)


def test_the_longest_prefix_is_the_most_specific() -> None:
    patterns = [parse_repository_prefix(text) for text in ("*", "acme/*", "acme/a", "acme/a/*")]
    assert [str(p) for p in sorted(patterns, key=lambda p: p.specificity)] == ["*", "acme/*", "acme/a/*", "acme/a"]
