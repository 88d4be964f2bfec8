"""Paging through tags and referrers: the upstream's cursor is opaque, so it travels as it came.

distribution-spec, "Listing Tags" and "Listing Referrers"; RFC 8288 for the Link header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_from_bytes, unquote_plus, urlsplit

from multidict import CIMultiDictProxy

# What may stand in a query as it is (RFC 3986 section 3.4), and the percent sign of what is encoded already.
_QUERY_SAFE = "%!$&'()*+,;=:@/?-._~"
_QUERY_MAXIMUM = 8192  # a client sends it back in a request line, and all headers together may have 32 KiB
_LINES_MAXIMUM = 16
_LINE_MAXIMUM = 32 * 1024  # characters of a Link header that are looked at
_TARGET = re.compile(r"[\s,]*<([^>]*)>", re.ASCII)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
_PARAMETER = re.compile(rf'\s*;\s*(?:({_TOKEN})\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?)?', re.ASCII)


def paging(query_string: bytes) -> str:
    """The client's query for the upstream, in its own spelling. Only containerd's `ns` is left out."""
    kept = [part for part in query_string.split(b"&") if unquote_plus(part.partition(b"=")[0].decode("latin-1")) != "ns"]
    return quote_from_bytes(b"&".join(kept), _QUERY_SAFE)


def next_link(headers: CIMultiDictProxy[str], client_path: str, asked: str) -> dict[str, str]:
    """A Link to the next page below the proxy's own path, with the query of the upstream's own Link.

    `asked` is the query that gave this page. A link without a query, or with the same one, leads nowhere new: a client would
    read the same page for ever.
    """
    for value in headers.getall("Link", ())[:_LINES_MAXIMUM]:
        for target, parameters in _links(value[:_LINE_MAXIMUM]):
            if "next" not in parameters.get("rel", "").lower().split() or parameters.get("anchor"):
                continue
            query = _query(target)
            return {"Link": f'<{client_path}?{query}>; rel="next"'} if query and query != asked else {}
    return {}


def _links(value: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Targets with their parameters; of several parameters of one name the first counts (RFC 8288 section 3)."""
    position = 0
    while found := _TARGET.match(value, position):
        position, parameters = found.end(), dict[str, str]()
        while parameter := _PARAMETER.match(value, position):
            position = parameter.end()
            name, quoted, plain = parameter.groups()
            if name:
                parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or "")
        yield found[1], parameters
        position = value.find(",", position)
        if position < 0:
            return


def _query(target: str) -> str:
    """The target's query; "" where it has none, or none that fits a request."""
    try:
        query = urlsplit(target.strip()).query
        encoded = quote_from_bytes(query.encode(), _QUERY_SAFE)
    except ValueError:  # "http://[", or characters that no header has: the list is good, only its next page is not to be had
        return ""
    return encoded if len(encoded) <= _QUERY_MAXIMUM else ""
