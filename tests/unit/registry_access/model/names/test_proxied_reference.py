"""References behind the proxy: rewriting, its refusals and its inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import (
    Proxied,
    Unchanged,
    UnchangedReason,
    as_kubelet_matches,
    from_proxied,
    to_proxied,
)

HOST = "oci.akua.dev"


SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis", f"{HOST}/docker.io/library/redis"),
        ("index.docker.io/redis:7", f"{HOST}/docker.io/library/redis:7"),
        ("registry-1.docker.io/redis:7", f"{HOST}/docker.io/library/redis:7"),
        ("GHCR.io/acme/app:1", f"{HOST}/ghcr.io/acme/app:1"),
        ("registry:0443/acme/app:1", f"{HOST}/registry_443/acme/app:1"),
        ("ghcr.io:443/acme/app:1", f"{HOST}/ghcr.io/acme/app:1"),
        ("GHCR.io:00443/acme/app", f"{HOST}/ghcr.io/acme/app"),
        ("index.docker.io:443/library/redis:7", f"{HOST}/docker.io/library/redis:7"),
        ("registry.example.com:05000/a", f"{HOST}/registry.example.com_5000/a"),
        ("registry.example.com:4430/a", f"{HOST}/registry.example.com_4430/a"),
        ("ghcr.io/acme/app@sha512:" + "f" * 128, f"{HOST}/ghcr.io/acme/app@sha512:" + "f" * 128),
        ("registry.example.com:5000/a/b@" + SHA, f"{HOST}/registry.example.com_5000/a/b@{SHA}"),
        ("ghcr.io/acme/app:v1@" + SHA, f"{HOST}/ghcr.io/acme/app:v1@{SHA}"),
        (f"{HOST}.evil.example/x/y", f"{HOST}/{HOST}.evil.example/x/y"),
        (f"evil{HOST}/x/y", f"{HOST}/evil{HOST}/x/y"),
    ],
)
def test_rewriting_keeps_tag_and_digest_and_matches_the_host_exactly(text: str, expected: str) -> None:
    proxied = to_proxied(text, HOST)
    assert isinstance(proxied, Proxied)
    assert proxied.reference == expected
    assert from_proxied(expected, HOST) == proxied.upstream


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HOST}/ghcr.io/acme/app:1", UnchangedReason.ALREADY_PROXIED),
        ("OCI.akua.dev/ghcr.io/acme/app:1", UnchangedReason.ALREADY_PROXIED),
        ("oci.akua.dev:443/ghcr.io/acme/app:1", UnchangedReason.ALREADY_PROXIED),
        ("registry.example.com:0/app", UnchangedReason.PORT_INVALID),
        ("registry.example.com:" + "9" * 5000 + "/app", UnchangedReason.PORT_INVALID),
        ("[::1]:443/app", UnchangedReason.IPV6_LITERAL),
        ("[2001:db8::1]:5000/app", UnchangedReason.IPV6_LITERAL),
        ("registry.example.com:99999/app", UnchangedReason.PORT_INVALID),
        ("ghcr.io/" + "a" * 240, UnchangedReason.TOO_LONG),
        ("UPPER", UnchangedReason.INVALID),
    ],
)
def test_what_cannot_be_expressed_stays_and_says_why(text: str, reason: UnchangedReason) -> None:
    unchanged = to_proxied(text, HOST)
    assert isinstance(unchanged, Unchanged)
    assert unchanged.reason is reason
    assert unchanged.detail


@pytest.mark.parametrize(
    "text", ["redis", f"{HOST}/Nope", f"{HOST}/docker.io", f"{HOST}/a_0/b", f"{HOST}/a__5/b", "::", f"{HOST}/a_b/c"]
)
def test_names_that_stand_for_no_upstream_image(text: str) -> None:
    assert from_proxied(text, HOST) is None


def test_one_part_docker_hub_names_get_library_behind_the_proxy() -> None:
    assert from_proxied(f"{HOST}/docker.io/redis:7", HOST) == ImageReference("docker.io", "library/redis", "7")
    assert to_proxied(ImageReference("docker.io", "redis"), HOST) == to_proxied("redis", HOST)


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


hosts = st.builds(
    lambda name, port: name + port,
    st.lists(labels, min_size=2, max_size=4).map(".".join),
    st.one_of(st.just(""), st.integers(1, 65535).filter(lambda port: port != 443).map(lambda port: f":{port}")),
)


components = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)


references = st.builds(
    ImageReference,
    hosts,
    st.lists(components, min_size=1, max_size=4).map("/".join),
    st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
    st.one_of(st.just(""), st.just(SHA)),
)


@given(references)
def test_rewriting_is_idempotent_and_reversible(reference: ImageReference) -> None:
    proxied = to_proxied(reference, HOST)
    assert isinstance(proxied, Proxied)
    again = to_proxied(proxied.reference, HOST)
    assert isinstance(again, Unchanged)
    assert again.reason is UnchangedReason.ALREADY_PROXIED
    assert from_proxied(proxied.reference, HOST) == proxied.upstream


@pytest.mark.parametrize("written", ["OCI.akua.dev", "oci.akua.dev:443", HOST])
def test_an_image_at_the_proxy_is_written_as_the_kubelet_matches_it(written: str) -> None:
    assert as_kubelet_matches(f"{written}/ghcr.io/acme/app:1", HOST) == f"{HOST}/ghcr.io/acme/app:1"
    assert from_proxied(f"{written}/ghcr.io/acme/app:1", HOST) == ImageReference("ghcr.io", "acme/app", "1")
    for other in ("redis", "ghcr.io/acme/app"):
        assert as_kubelet_matches(other, HOST) == other
