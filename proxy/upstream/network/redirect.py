"""Where a redirect leads: the Location header as a URL that a request line can carry."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

from proxy.upstream.errors import UpstreamMisbehaved
from proxy.upstream.network.private_registries import port_of

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))


def redirect_target(url: str, location: str, whom: str) -> str:
    """The URL that `location`, in an answer of `whom` to a request for `url`, leads to; without its fragment.

    What is escaped already stays as it is: a signed URL must arrive as it was signed. Headers are bytes (RFC 9110 section 5.5);
    those that are not UTF-8 come as surrogates and leave as the same bytes. Raises UpstreamMisbehaved for what is not a URL.
    """
    try:
        joined = urljoin(url, location)
    except ValueError:  # brackets that do not match, or a host that Unicode normalization changes
        raise UpstreamMisbehaved(f"{whom} redirects to something that is not a URL") from None
    return quote(joined.partition("#")[0].encode("utf-8", "surrogateescape"), safe=_PRINTABLE)


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for a URL that has no valid ones."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", port_of(parts)
    except ValueError:
        return None
