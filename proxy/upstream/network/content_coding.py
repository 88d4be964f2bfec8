"""Documents that an upstream compresses although it is asked not to (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib

from proxy.upstream.errors import UpstreamMisbehaved, UpstreamTruncated

_GZIP_MAGIC = b"\x1f\x8b"
_EITHER_HEADER = 47  # zlib's windowBits: gzip or zlib, found out by the header


def decoded(body: bytes, coding: str, limit: int) -> bytes:
    """The JSON document in `body`, of which the Content-Encoding is `coding`. A document cannot begin as gzip does.

    Raises UpstreamMisbehaved for a coding that is not gzip or deflate, for nonsense and beyond `limit` bytes; UpstreamTruncated.
    """
    codings = [name for name in (part.strip().lower() for part in coding.split(",")) if name not in ("", "identity")]
    if not codings and not body.startswith(_GZIP_MAGIC):
        return body
    if codings not in ([], ["gzip"], ["x-gzip"], ["deflate"]):
        raise UpstreamMisbehaved(f"the upstream registry encodes its answer as {coding[:64]}, although identity was asked for")
    if body.lstrip()[:1] == b"{":
        return body  # the header is wrong, the document is not
    decoder = zlib.decompressobj(_EITHER_HEADER)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise UpstreamMisbehaved("the upstream registry's answer is marked as compressed and does not decompress") from error
    if len(plain) > limit:
        raise UpstreamMisbehaved(f"the upstream registry's answer is larger than {limit} bytes")
    if not decoder.eof:
        raise UpstreamTruncated("the upstream registry's compressed answer ends early")
    return plain


def begins_as_document(beginning: bytes, coding: str) -> bool:
    """Whether a body that is marked as `coding`, and begins like this, is a JSON object once it is decoded."""
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return False
    try:
        return zlib.decompressobj(_EITHER_HEADER).decompress(beginning, 64).lstrip()[:1] == b"{"
    except zlib.error:
        return False
