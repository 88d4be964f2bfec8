"""Which digest a manifest has, and what is not a manifest."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from proxy.pull import manifest
from proxy.pull.manifest import VALUES_MAXIMUM, checked_digest, json_object
from proxy.pull.streaming import CorruptBody
from proxy.upstream.errors import UpstreamMisbehaved
from registry_access.model.names.digest import parse_digest

PLAIN = b'{"schemaVersion":2}'
JSON = "application/vnd.oci.image.manifest.v1+json"
OTHER = "sha256:" + "0" * 64


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signed(**changes: object) -> tuple[bytes, bytes]:
    """A schema 1 manifest as libtrust signs one, and the payload that its digest is of."""
    payload = json.dumps({"schemaVersion": 1, "name": "acme/app", "tag": "1.0", "fsLayers": []}, indent=3).encode()
    protected = {"formatLength": len(payload) - 2, "formatTail": encoded(payload[-2:])} | changes
    signature = [{"header": {"alg": "ES256"}, "signature": "c2ln", "protected": encoded(json.dumps(protected).encode())}]
    return payload[:-2] + b',\n   "signatures": ' + json.dumps(signature).encode() + payload[-2:], payload


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_by_digest_the_bytes_must_have_it(algorithm: str) -> None:
    digest = digest_of(PLAIN, algorithm)
    assert checked_digest(PLAIN, parse_digest(digest), "", JSON) == digest
    assert checked_digest(PLAIN, None, digest, JSON) == digest
    with pytest.raises(CorruptBody):
        checked_digest(PLAIN + b" ", parse_digest(digest), "", JSON)


def test_by_tag_it_is_what_the_upstream_says_or_computed() -> None:
    assert checked_digest(PLAIN, None, "", JSON) == digest_of(PLAIN)
    assert checked_digest(PLAIN, None, "nonsense", JSON) == digest_of(PLAIN)
    with pytest.raises(CorruptBody):
        checked_digest(PLAIN, None, OTHER, JSON)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_schema_1_has_the_digest_of_what_was_signed(asked: bool, said: bool) -> None:
    body, payload = signed()
    digest = digest_of(payload)
    assert checked_digest(body, parse_digest(digest) if asked else None, digest if said else "", "prettyjws") == digest


@pytest.mark.parametrize(
    "changes", [{"formatLength": -1}, {"formatLength": "1"}, {"formatLength": 10**9}, {"formatTail": 5}, {"formatTail": "é"}]
)
def test_signatures_that_make_no_sense_make_no_digest_of_their_own(changes: dict[str, object]) -> None:
    body, payload = signed(**changes)
    with pytest.raises(CorruptBody):
        checked_digest(body, parse_digest(digest_of(payload)), "", "prettyjws")
    assert checked_digest(body, None, "", "prettyjws") == digest_of(body)


@pytest.mark.parametrize(
    ("body", "media_type", "words"),
    [
        (b"<!DOCTYPE html><html>log in</html>", "text/html; charset=utf-8", "a web page"),
        (b"  <html>", "", "a web page"),
        (b"[]", JSON, "something else"),
        (b"\xff\xfe", JSON, "something else"),
        (b"{" * 100_000, JSON, "something else"),
    ],
)
@pytest.mark.parametrize("asked", [None, OTHER])
def test_what_is_not_a_manifest_is_called_what_it_is(body: bytes, media_type: str, words: str, asked: str | None) -> None:
    with pytest.raises(UpstreamMisbehaved, match=words):
        checked_digest(body, parse_digest(asked) if asked else None, "", media_type)


@pytest.mark.parametrize("value", [b"{}", b"0", b"[]", b'""'])
def test_a_document_of_very_many_values_is_not_parsed(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of them took seconds, in which nobody else's pull went on."""
    body = b'{"tags":[' + b",".join([value] * (VALUES_MAXIMUM + 1)) + b"]}"
    monkeypatch.setattr(manifest, "orjson", None)
    with pytest.raises(UpstreamMisbehaved, match="more than 500,000 values"):
        json_object(body, "a list of tags", JSON)


def test_a_long_list_of_tags_is() -> None:
    tags = [f"v1.{number}.0" for number in range(200_000)]
    assert json_object(json.dumps({"tags": tags}).encode(), "a list of tags", JSON)["tags"] == tags
