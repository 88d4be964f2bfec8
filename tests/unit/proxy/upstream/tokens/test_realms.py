"""Realms: where a login may be sent."""

from __future__ import annotations

import pytest

from proxy.upstream.errors import RealmRefused
from proxy.upstream.tokens.realms import check_realm


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://auth.docker.io/token", "docker.io"),
        ("https://gitlab.com/jwt/auth", "registry.gitlab.com"),
        ("https://ghcr.io/token", "ghcr.io"),
        ("https://registry.example:5000/token", "registry.example:5000"),
        ("https://registry.example/token", "registry.example:5000"),
    ],
)
def test_realms_of_the_registry_itself_and_of_known_pairs(realm: str, registry: str) -> None:
    assert check_realm(realm, registry) == realm


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://evil.example/token", "ghcr.io"),
        ("https://ghcr.io.evil.example/token", "ghcr.io"),
        ("https://ghcr.io@evil.example/token", "ghcr.io"),
        ("https://user@ghcr.io/token", "ghcr.io"),
        ("http://ghcr.io/token", "ghcr.io"),
        ("//ghcr.io/token", "ghcr.io"),
        ("file:///etc/passwd", "ghcr.io"),
        ("", "ghcr.io"),
        ("https://auth.docker.io/token", "ghcr.io"),
        ("https://[/token", "ghcr.io"),
        ("https://\u2100.example/token", "ghcr.io"),
    ],
)
def test_other_realms_are_refused(realm: str, registry: str) -> None:
    with pytest.raises(RealmRefused):
        check_realm(realm, registry)


def test_a_self_hosted_realm_can_be_stated() -> None:
    assert check_realm("https://gitlab.acme.example/jwt/auth", "registry.acme.example", stated=("gitlab.acme.example",))
    assert check_realm("http://registry.acme.example/token", "registry.acme.example", insecure=True)
