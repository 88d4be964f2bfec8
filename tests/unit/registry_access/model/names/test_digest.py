"""Digests, as the image specification writes them."""

from __future__ import annotations

import pytest

from registry_access.model.errors import InvalidDigest
from registry_access.model.names.digest import Digest, is_digest, parse_digest

SHA = "sha256:" + "a" * 64


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
