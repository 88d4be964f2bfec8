"""Which headers cross the proxy, in either direction. What is not listed does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from multidict import CIMultiDictProxy

RawHeaders = Iterable[tuple[bytes, bytes]]
# If-Match and If-None-Match work on ETags, which are relayed; a Range goes to blobs only.
_TO_UPSTREAM = {b"accept": "Accept", b"if-none-match": "If-None-Match", b"if-modified-since": "If-Modified-Since"}
_TO_UPSTREAM_BLOB = {b"range": "Range", b"if-range": "If-Range"}
_TO_CLIENT = (
    "Content-Type",
    "Docker-Content-Digest",
    "ETag",
    "Last-Modified",
    "Content-Range",
    "Accept-Ranges",
    "OCI-Filters-Applied",
    "OCI-Subject",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "Docker-RateLimit-Source",
)
_NEXT = re.compile(r'\s*<([^>]+)>\s*;\s*rel="?next"?', re.ASCII)
# The specification's, and the cursors that registries put into their own Link.
_PAGING = ("n", "last", "artifactType", "nextPageToken", "token", "page", "p")
_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)", re.ASCII)


def to_upstream(headers: RawHeaders, *, blob: bool) -> dict[str, str]:
    """The client's headers for the upstream. Several lines of one name are joined: clients send one Accept a line."""
    wanted = _TO_UPSTREAM | (_TO_UPSTREAM_BLOB if blob else {})
    joined: dict[str, str] = {}
    for name, value in headers:
        if (sent := wanted.get(name)) is not None:
            text = value.decode("latin-1")
            joined[sent] = f"{joined[sent]}, {text}" if sent in joined else text
    # Several ranges would be a multipart body; a whole one is a legal answer to them (RFC 9110 section 14.2).
    if "Range" in joined and not _RANGE.fullmatch(joined["Range"]):
        del joined["Range"]
    return joined


def to_client(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The upstream's headers for the client, without Link (see `next_link`) and Content-Length (see the handlers)."""
    return {name: headers[name] for name in _TO_CLIENT if name in headers and _is_field_value(headers[name])}


def next_link(headers: CIMultiDictProxy[str], client_path: str) -> dict[str, str]:
    """A Link to the next page below the proxy's own path, from the paging parameters of the upstream's own Link."""
    match = _NEXT.match(headers.get("Link", ""))
    if match is None or not _is_field_value(match[1]):
        return {}
    try:
        query = dict(parse_qsl(urlsplit(match[1]).query))
    except ValueError:  # "http://[": an upstream's nonsense is no reason to fail a list that is otherwise good
        return {}
    kept = {name: value for name, value in query.items() if name in _PAGING}
    return {"Link": f'<{client_path}?{urlencode(kept)}>; rel="next"'} if kept else {}


def paging(query_string: bytes) -> tuple[tuple[str, str], ...]:
    """The client's paging and filtering parameters for the upstream; containerd's `ns` and all else is left out."""
    pairs = parse_qsl(query_string.decode("latin-1"))
    return tuple((name, value) for name, value in pairs if name in _PAGING)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def retry_after(value: str) -> dict[str, str]:
    """An upstream's Retry-After for the client: seconds or a date (RFC 9110 section 10.2.3), nothing else."""
    return {"Retry-After": value} if value and len(value) <= 64 and value.isascii() and value.isprintable() else {}


def _is_field_value(value: str) -> bool:
    return value.isprintable() and (value.isascii() or all(ord(character) < 256 for character in value))
