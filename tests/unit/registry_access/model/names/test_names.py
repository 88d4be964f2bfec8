"""References, hosts and their form behind the proxy, against distribution's own table and by property."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.errors import InvalidDigest, InvalidImageReference, InvalidRegistryHost
from registry_access.model.names.digest import Digest, is_digest, parse_digest
from registry_access.model.names.image_reference import ImageReference, parse_image_reference
from registry_access.model.names.proxied_reference import (
    Proxied,
    Unchanged,
    UnchangedReason,
    as_kubelet_matches,
    from_proxied,
    to_proxied,
)
from registry_access.model.names.registry_host import host_to_segment, normalize_registry_host, same_registry, segment_to_host

HOST = "oci.akua.dev"
ROWS = list(csv.DictReader(Path("tests/cases/image_references.tsv").read_text().splitlines(), delimiter="\t"))
SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize("row", ROWS, ids=[row["input"][:50] for row in ROWS])
def test_references_parse_as_distribution_parses_them(row: dict[str, str]) -> None:
    if row["valid"] != "true":
        with pytest.raises(InvalidImageReference):
            parse_image_reference(row["input"])
        return
    reference = parse_image_reference(row["input"])
    assert reference == ImageReference(row["registry"], row["repository"], row["tag"] or "", row["digest"] or "")
    assert reference.familiar == row["expected_normalized_familiar"]
    assert parse_image_reference(str(reference)) == reference or "/" not in row["input"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis", f"{HOST}/docker.io/library/redis"),
        ("index.docker.io/redis:7", f"{HOST}/docker.io/library/redis:7"),
        ("registry-1.docker.io/redis:7", f"{HOST}/docker.io/library/redis:7"),
        ("GHCR.io/acme/app:1", f"{HOST}/ghcr.io/acme/app:1"),
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
def test_parsing_is_the_inverse_of_printing(reference: ImageReference) -> None:
    assert parse_image_reference(str(reference)) == reference


@given(references)
def test_rewriting_is_idempotent_and_reversible(reference: ImageReference) -> None:
    proxied = to_proxied(reference, HOST)
    assert isinstance(proxied, Proxied)
    again = to_proxied(proxied.reference, HOST)
    assert isinstance(again, Unchanged)
    assert again.reason is UnchangedReason.ALREADY_PROXIED
    assert from_proxied(proxied.reference, HOST) == proxied.upstream


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_with_a_message(text: str) -> None:
    try:
        reference = parse_image_reference(text)
    except InvalidImageReference:
        return
    assert reference.repository


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


@pytest.mark.parametrize("written", ["OCI.akua.dev", "oci.akua.dev:443", HOST])
def test_an_image_at_the_proxy_is_written_as_the_kubelet_matches_it(written: str) -> None:
    assert as_kubelet_matches(f"{written}/ghcr.io/acme/app:1", HOST) == f"{HOST}/ghcr.io/acme/app:1"
    assert from_proxied(f"{written}/ghcr.io/acme/app:1", HOST) == ImageReference("ghcr.io", "acme/app", "1")
    for other in ("redis", "ghcr.io/acme/app"):
        assert as_kubelet_matches(other, HOST) == other


@pytest.mark.parametrize(("algorithm", "length"), [("sha256", 64), ("sha512", 128)])
def test_digests(algorithm: str, length: int) -> None:
    digest = parse_digest(f"{algorithm}:{'0' * length}")
    assert str(digest) == f"{algorithm}:{'0' * length}"
    hasher = digest.hasher()
    hasher.update(b"some bytes")
    assert not digest.matches(hasher)
    assert Digest(algorithm, hasher.hexdigest()).matches(hasher)


@pytest.mark.parametrize(
    "text", ["sha256:", "sha256:baddigeststring", "md5:" + "a" * 32, "sha256:" + "A" * 64, "a" * 64, SHA + "\n"]
)
def test_what_is_no_digest(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(InvalidDigest, match="digest"):
        parse_digest(text)


@pytest.mark.parametrize("tag", ["", "-x", ".x", "a" * 129, "a b", "x\n"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(InvalidImageReference, match="tag"):
        parse_image_reference(f"redis:{tag}")
