"""The protocol's paths: what is parsed, and every trick that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.distribution_path import (
    BlobPath,
    CatalogPath,
    DistributionPath,
    InvalidPath,
    ManifestPath,
    Ping,
    ReferrersPath,
    TagsPath,
    UploadPath,
    parse_distribution_path,
)
from registry_access.model.names.digest import parse_digest

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/", Ping()),
        ("/v2", Ping()),
        ("/v2/_catalog", CatalogPath()),
        ("/v2/ghcr.io/acme/app/blobs/uploads/", UploadPath()),
        ("/v2/ghcr.io/acme/app/blobs/uploads/0a-1b", UploadPath()),
        ("/v2/ghcr.io/acme/app/manifests/1.0", ManifestPath("ghcr.io", "acme/app", "1.0", "ghcr.io/acme/app")),
        ("/v2/docker.io/redis/manifests/7", ManifestPath("docker.io", "library/redis", "7", "docker.io/redis")),
        ("/v2/index.docker.io/redis/manifests/7", ManifestPath("docker.io", "library/redis", "7", "index.docker.io/redis")),
        ("/v2/reg.example_5000/a/manifests/x", ManifestPath("reg.example:5000", "a", "x", "reg.example_5000/a")),
        (f"/v2/ghcr.io/a/b/blobs/{SHA}", BlobPath("ghcr.io", "a/b", parse_digest(SHA), "ghcr.io/a/b")),
        (f"/v2/ghcr.io/a/b/referrers/{SHA}", ReferrersPath("ghcr.io", "a/b", parse_digest(SHA), "ghcr.io/a/b")),
        ("/v2/ghcr.io/a/b/tags/list", TagsPath("ghcr.io", "a/b", "ghcr.io/a/b")),
        # Words of the protocol are legal parts of names.
        ("/v2/ghcr.io/manifests/blobs/manifests/1", ManifestPath("ghcr.io", "manifests/blobs", "1", "ghcr.io/manifests/blobs")),
        ("/v2/ghcr.io/a/tags/list/tags/list", TagsPath("ghcr.io", "a/tags/list", "ghcr.io/a/tags/list")),
    ],
)
def test_paths(path: str, expected: DistributionPath) -> None:
    assert parse_distribution_path(path.encode()) == expected


@pytest.mark.parametrize(
    "path",
    [
        b"/v2/ghcr.io%2Facme/app/manifests/1",
        b"/v2/ghcr.io/acme/%2e%2e/app/manifests/1",
        b"/v2/ghcr.io/acme/../app/manifests/1",
        b"/v2/ghcr.io/acme\x00/app/manifests/1",
        b"/v2/ghcr.io//app/manifests/1",
        b"/v2//ghcr.io/app/manifests/1",
        b"//v2/ghcr.io/app/manifests/1",
        b"/v2/ghcr.io/Acme/manifests/1",
        b"/v2/GHCR.io/acme/manifests/1",
        b"/v2/ghcr.io/acme/manifests/1\n",
        b"/v2/ghcr.io/acme/manifests/",
        b"/v2/ghcr.io/acme/manifests/a:b",
        b"/v2/ghcr.io/acme/manifests/.hidden",
        b"/v2/ghcr.io/acme/manifests/sha256:short",
        b"/v2/ghcr.io/acme/blobs/md5:00000000000000000000000000000000",
        b"/v2/ghcr.io/acme/blobs/sha256:baddigeststring",
        b"/v2/ghcr.io/acme/referrers/latest",
        b"/v2/ghcr.io/acme/tags/all",
        b"/v2/ghcr.io/manifests/1",
        b"/v2/_bad_/acme/manifests/1",
        b"/v2/a__5/acme/manifests/1",
        b"/v2/ghcr.io/ac\xc3\xa9/manifests/1",
        b"/v2/" + b"a/" * 600 + b"manifests/1",
        b"/v2/" + b"a/" * 200 + b"manifests/1",
        b"/v1/ghcr.io/acme/manifests/1",
        b"/v2/GHCR/blobs/uploads/",
        b"",
    ],
)
def test_tricks_are_refused(path: bytes) -> None:
    refused = parse_distribution_path(path)
    assert isinstance(refused, InvalidPath)
    assert refused.code in {"NAME_INVALID", "DIGEST_INVALID", "MANIFEST_INVALID", "UNSUPPORTED"}
    assert refused.detail


@given(st.binary(max_size=120))
def test_every_path_has_an_answer(path: bytes) -> None:
    parse_distribution_path(b"/v2/" + path)


def test_a_manifest_by_digest_knows_its_digest() -> None:
    by_digest = parse_distribution_path(f"/v2/ghcr.io/a/manifests/{SHA}".encode())
    by_tag = parse_distribution_path(b"/v2/ghcr.io/a/manifests/1")
    assert isinstance(by_digest, ManifestPath)
    assert isinstance(by_tag, ManifestPath)
    assert by_digest.digest == parse_digest(SHA)
    assert by_tag.digest is None
