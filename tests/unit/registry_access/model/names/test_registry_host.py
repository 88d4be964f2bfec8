"""Registry hosts: one spelling each, and their form as a path segment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.errors import InvalidRegistryHost
from registry_access.model.names.registry_host import host_to_segment, normalize_registry_host, same_registry, segment_to_host

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


hosts = st.builds(
    lambda name, port: name + port,
    st.lists(labels, min_size=2, max_size=4).map(".".join),
    st.one_of(st.just(""), st.integers(1, 65535).filter(lambda port: port != 443).map(lambda port: f":{port}")),
)


@given(hosts)
def test_host_segments_are_reversible(host: str) -> None:
    segment = host_to_segment(host)
    assert segment is not None
    assert segment_to_host(segment) == host


@pytest.mark.parametrize("segment", ["", "a:5", "a_", "a_b", "a_0", "a_05", "a_65536", "A", "a..b", "-a", "[::1]", "a_5\n"])
def test_segments_that_no_host_gives(segment: str) -> None:
    with pytest.raises(InvalidRegistryHost):
        segment_to_host(segment)


@pytest.mark.parametrize("host", ["https://ghcr.io", "ghcr.io/acme", "", "a b", "ghcr.io:", "exa_mple.com", "ghcr.io\n"])
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(InvalidRegistryHost, match="registry"):
        normalize_registry_host(host)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io:443", "ghcr.io"),
        ("GHCR.io:0443", "ghcr.io"),
        ("Registry:0443", "registry:443"),
        ("registry-1.docker.io:443", "docker.io"),
        ("localhost:443", "localhost"),
        ("[::443]", "[::443]"),
        ("[FD00::1]:443", "[fd00::1]"),
        ("[::1]:05000", "[::1]:5000"),
        ("ghcr.io:80", "ghcr.io:80"),
        ("ghcr.io:0", "ghcr.io:0"),
    ],
)
def test_a_registry_has_one_spelling(text: str, expected: str) -> None:
    assert normalize_registry_host(text) == expected
    assert same_registry(text, expected)


@pytest.mark.parametrize(("one", "other"), [("ghcr.io", "ghcr.io:80"), ("a b", "ghcr.io"), ("ghcr.io", ""), ("[::1", "[::1]")])
def test_other_registries_stay_others(one: str, other: str) -> None:
    assert not same_registry(one, other)
