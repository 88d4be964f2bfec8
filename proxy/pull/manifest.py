"""Manifests as upstreams send them: is it one, and which digest does it have?"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson

from proxy.pull.streaming import CorruptBody
from proxy.upstream.errors import UpstreamMisbehaved
from registry_access.model.names.digest import Digest, is_digest, parse_digest

VALUES_MAXIMUM = 500_000  # twice as many tags as the longest list that has been seen: 5 MB without pages
_BEFORE_VALUES = (b",", b"{", b"[")


def checked_digest(body: bytes, asked: Digest | None, said: str, media_type: str) -> str:
    """The manifest's digest: what was `asked` for, else what the upstream `said`, else computed; checked in the first two cases.

    Raises CorruptBody for another digest, UpstreamMisbehaved for what is no manifest at all.
    """
    wanted = asked or (parse_digest(said) if is_digest(said) else None)
    if asked is not None and _digest(asked.algorithm, body) == asked.encoded:
        return str(asked)
    document = json_object(body, "a manifest", media_type)
    payload = _signed_payload(body, document)
    if wanted is None:
        return f"sha256:{_digest('sha256', payload)}"
    if wanted.encoded not in (_digest(wanted.algorithm, body), _digest(wanted.algorithm, payload)):
        raise CorruptBody(f"the upstream's bytes do not have the digest {wanted}")
    return str(wanted)


def json_object(body: bytes, expected: str, media_type: str) -> dict[str, Any]:
    """The document in `body`. Raises UpstreamMisbehaved, which says what came instead of what was `expected`.

    Nothing else runs while a document is parsed, and how long that takes depends on its values: 16 MiB of them take seconds.
    """
    if len(body) > VALUES_MAXIMUM and sum(map(body.count, _BEFORE_VALUES)) > VALUES_MAXIMUM:
        raise UpstreamMisbehaved(f"the upstream registry's answer has more than {VALUES_MAXIMUM:,} values; {expected} has fewer")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        page = "html" in media_type.lower() or body[:256].lstrip().lower().startswith((b"<!doctype", b"<html"))
        found = "a web page" if page else f"something else ({media_type or 'no media type'})"
        raise UpstreamMisbehaved(f"the upstream registry's answer is {found}, not {expected}")
    return document


def _signed_payload(body: bytes, document: dict[str, Any]) -> bytes:
    """The part of `body` that its digest is of: all of it, but for the signatures inside Docker's schema 1.

    distribution, "Image Manifest Version 2, Schema 1", "Signed Manifests": each signature's protected header says how long the
    signed text is within the document, and how it ended before the signatures were put in.
    """
    if document.get("schemaVersion") != 1:
        return body
    try:
        protected = orjson.loads(_base64url(document["signatures"][0]["protected"]))
        length, tail = protected["formatLength"], _base64url(protected["formatTail"])
        return body[:length] + tail if isinstance(length, int) and 0 < length <= len(body) else body
    except (KeyError, IndexError, TypeError, ValueError):
        return body


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _digest(algorithm: str, content: bytes) -> str:
    return (hashlib.sha512 if algorithm == "sha512" else hashlib.sha256)(content).hexdigest()
