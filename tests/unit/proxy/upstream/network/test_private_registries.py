"""Whose private addresses an administrator allows."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from proxy.upstream.network.private_registries import PrivateRegistries


@pytest.mark.parametrize(
    ("entries", "url", "permitted", "listed"),
    [
        ([], "https://registry.corp/v2/", False, False),
        (["*"], "https://registry.corp/v2/", True, False),
        (["registry.corp"], "https://registry.corp/v2/", True, True),
        (["registry.corp"], "https://REGISTRY.corp:443/v2/", True, True),
        (["registry.corp"], "http://registry.corp/v2/", True, True),
        (["registry.corp"], "https://registry.corp:5000/v2/", False, False),
        (["registry.corp:5000"], "https://registry.corp:5000/v2/", True, True),
        (["registry.corp:5000"], "https://registry.corp/v2/", False, False),
        (["registry.corp"], "https://evil.registry.corp/v2/", False, False),
        (["[fd12::1]:5000"], "https://[fd12::1]:5000/v2/", True, True),
        (["*", "registry.corp"], "https://registry.corp/", True, True),
    ],
)
def test_whose_credentials_may_ask(entries: list[str], url: str, permitted: bool, listed: bool) -> None:
    registries = PrivateRegistries(entries)
    assert (registries.permits(urlsplit(url)), registries.lists(urlsplit(url))) == (permitted, listed)
