"""The address of a client behind load balancers, as far as the peers that wrote it are trusted.

`X-Forwarded-For` and `Forwarded` (RFC 7239) are read from the right: each proxy appends the address that it was asked from, and
what stands left of the first address that is not a trusted proxy's was written by that client itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
_FOR = re.compile(r'(?:^|;)\s*for=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;,"\s]+))', re.IGNORECASE)
_HOPS_MAXIMUM = 20


def trusting(networks: Sequence[Network]) -> Callable[[str], bool]:
    """Whether an address, as text, is in one of `networks`. IPv4 addresses that are mapped into IPv6 count as IPv4."""

    def trusts(text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in networks)

    return trusts


def forwarded_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusts: Callable[[str], bool]) -> str:
    """The nearest address that is not trusted: everything left of it was written by that client itself.

    `peer` when it is not trusted, when neither header is there, or when all addresses are trusted. What a trusted proxy wrote is
    taken as it is, `unknown` for example (RFC 7239, section 6.2): nothing left of it can be attributed.
    """
    if not trusts(peer):
        return peer
    for hop in _hops(headers):
        address = _without_port(hop)
        if not trusts(address):
            return address or peer
    return peer


class ForwardedClients:
    """An ASGI application whose `scope["client"]` is the client behind trusted proxies; `akua.peer` is who connected."""

    def __init__(self, app: ASGIApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._trusts = trusting(networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            peer = scope["client"][0]
            client = forwarded_address(peer, scope["headers"], self._trusts)
            if client != peer:
                scope = {**scope, "client": (client, 0), "akua.peer": peer}
        await self._app(scope, receive, send)


def _hops(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    """From the nearest to the farthest. Where a balancer writes both headers, X-Forwarded-For is read."""
    lines: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"forwarded": []}
    for name, value in headers:
        if name in lines:
            lines[name].append(value.decode("latin-1"))
    hops = [part.strip() for line in lines[b"x-forwarded-for"] for part in line.split(",")]
    if not hops:
        elements = [part for line in lines[b"forwarded"] for part in line.split(",")]
        hops = [(match[1] or match[2] or "") if (match := _FOR.search(element)) else "" for element in elements]
    yield from list(reversed(hops))[:_HOPS_MAXIMUM]


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
