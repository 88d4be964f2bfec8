"""Which network addresses may be reached, and a resolver that pins them.

A name is resolved once for a connection, every address is checked, and the connection goes to a checked address: a second answer
(DNS rebinding) is never asked for. This holds at every hop: registry, token service, redirect (threat model, rows 17 and 18).
"""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# The clouds' metadata services; link-local covers most, these are outside of it.
_METADATA = frozenset(
    {ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("168.63.129.16")}
)
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")

private_addresses_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("private_addresses_allowed", default=False)


def is_allowed(text: str, *, private: bool, networks: Sequence[Network] = ()) -> bool:
    """Whether a connection to the address `text` may be made. `private` admits loopback and private ranges, never metadata."""
    address = _unmapped(ipaddress.ip_address(text))
    if address in _METADATA or address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if any(address in network for network in networks if network.version == address.version):
        return True
    inward = address.is_loopback or address.is_private or address.is_reserved or (address.version == 4 and address in _SHARED)
    return private or not inward


def _unmapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped, NAT64 or 6to4 one: they lead to it."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


Lookup = Callable[[str, int], "asyncio.Future[list[str]]"]


class CheckedResolver(AbstractResolver):
    """Resolves for aiohttp, and lets only allowed addresses through. `overrides`: see `Connections`."""

    def __init__(self, networks: Sequence[str] = (), overrides: dict[str, str] | None = None) -> None:
        self._networks = tuple(ipaddress.ip_network(text) for text in networks)
        self._overrides = overrides or {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._lookup(host, port)
        private = private_addresses_allowed.get()
        allowed = [address for address in found if is_allowed(address, private=private, networks=self._networks)]
        if not allowed:
            raise AddressRefused(
                f"{host} leads to {', '.join(found)}, which is not a public address; "
                "set allowPrivateAddresses on the credential, or AKUA_UPSTREAM_ALLOWED_NETWORKS"
            )
        _, _, own_port = self._overrides.get(host, "").partition(":")
        return [_result(host, address, int(own_port or port)) for address in allowed]

    async def _lookup(self, host: str, port: int) -> list[str]:
        if host in self._overrides:
            return [self._overrides[host].partition(":")[0]]
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers))

    async def close(self) -> None:
        """Nothing is held."""


def check_literal(host: str, *, private: bool, networks: Sequence[Network] = ()) -> None:
    """Raises AddressRefused when `host` is an address literal that is not allowed: aiohttp does not resolve those."""
    try:
        text = host.strip("[]")
        ipaddress.ip_address(text)
    except ValueError:
        return
    if not is_allowed(text, private=private, networks=networks):
        raise AddressRefused(f"{host} is not a public address; set allowPrivateAddresses on the credential")


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )
