"""Which headers cross the proxy, in either direction. What is not listed does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from multidict import CIMultiDictProxy

RawHeaders = Iterable[tuple[bytes, bytes]]
# If-None-Match works on ETags, which are relayed.
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
_RANGE = re.compile(r"\d+-\d*|-\d+", re.ASCII)
_VALUE_MAXIMUM = 8192
_WARNINGS_MAXIMUM = 10


def to_upstream(headers: RawHeaders, *, blob: bool) -> dict[str, str]:
    """The client's headers for the upstream. Several lines of one name are joined: clients send one Accept a line."""
    wanted = _TO_UPSTREAM | (_TO_UPSTREAM_BLOB if blob else {})
    joined: dict[str, str] = {}
    for name, value in headers:
        if (sent := wanted.get(name)) is not None:
            text = value.decode("latin-1")
            joined[sent] = f"{joined[sent]}, {text}" if sent in joined else text
    if "Range" in joined and not _is_byte_ranges(joined["Range"]):
        del joined["Range"]
    return joined


def to_client(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The upstream's headers for the client. Link, Warning and Content-Length have rules of their own."""
    return {name: headers[name] for name in _TO_CLIENT if name in headers and _is_field_value(headers[name])}


def warnings(headers: CIMultiDictProxy[str]) -> tuple[str, ...]:
    """The upstream's words for the client's user (distribution-spec, "Warnings"), a line each."""
    found = (value for value in headers.getall("Warning", ()) if _is_field_value(value))
    return tuple(found)[:_WARNINGS_MAXIMUM]


def encoded(headers: Mapping[str, str], warned: Iterable[str] = ()) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return lines + [(b"warning", value.encode("latin-1")) for value in warned]


def retry_after(value: str) -> dict[str, str]:
    """An upstream's Retry-After for the client: seconds or a date (RFC 9110 section 10.2.3), nothing else."""
    return {"Retry-After": value} if value and len(value) <= 64 and value.isascii() and value.isprintable() else {}


def _is_byte_ranges(value: str) -> bool:
    """Whether `value` asks for one or several ranges of bytes (RFC 9110 section 14.1.2). Anything else is ignored, as there."""
    unit, _, listed = value.partition("=")
    ranges = [part for part in (part.strip(" \t") for part in listed.split(",")) if part]
    return unit.lower() == "bytes" and bool(ranges) and all(_RANGE.fullmatch(part) for part in ranges)


def _is_field_value(value: str) -> bool:
    return len(value) <= _VALUE_MAXIMUM and value.isprintable() and all(ord(character) < 256 for character in value)
