"""Which network addresses may be connected to: one table, and a resolver that pins what it checked.

The table is our own, so that it does not change with Python's `ipaddress` ("is_private" has, several times). A name is resolved
once for a connection, every address is checked, and the connection goes to a checked address: a second answer (DNS rebinding)
is never asked for. This holds at every hop: registry, token service, redirect.

Sources: RFC 6890 and the IANA special-purpose address registries; RFC 4291 (IPv4-compatible, mapped), RFC 6052 and RFC 8215
(NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP), RFC 3879 (site-local); the clouds' documentation of their metadata
services.
"""

from __future__ import annotations

import contextvars
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.errors import AddressRefused
from proxy.upstream.network.name_lookup import NameLookup

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
# Not even where private addresses are allowed.
_NEVER = _networks(
    "0.0.0.0/8",  # this network
    "169.254.0.0/16",  # link-local: most metadata services
    "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service
    "192.88.99.0/24",  # 6to4 relays
    "224.0.0.0/4",  # multicast
    "255.255.255.255/32",
    "100.100.100.200/32",  # Alibaba Cloud's metadata service
    "168.63.129.16/32",  # Azure's
    "::/96",  # unspecified, and IPv4-compatible (deprecated); ::1 is loopback
    "64:ff9b:1::/48",  # NAT64 of the network's own choosing: it may lead to any IPv4 address
    "100::/64",  # discard
    "2001::/32",  # Teredo
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local (deprecated)
    "ff00::/8",  # multicast
    "fd00:ec2::/32",  # AWS's metadata, DNS and time services
    "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud's metadata service
    "fd20:ce::254/128",  # Google Cloud's
)
# Only where private addresses are allowed. IPv6 outside of global unicast (2000::/3) belongs here too.
_PRIVATE = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4"),
    *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    *("2001::/23", "2001:db8::/32", "3fff::/20"),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# IPv6 addresses that are an IPv4 address in disguise, and how far right it stands in them: they lead to it.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (SIIT)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)

private_addresses_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("private_addresses_allowed", default=False)
loopback_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("loopback_allowed", default=True)


def is_allowed(text: str, *, private: bool, networks: Sequence[Network] = (), loopback: bool = True) -> bool:
    """Whether a connection to the address `text` may be made. Only the canonical form of an address is one.

    `private` allows private ranges and loopback, `networks` further ones, neither of them what is never reachable. Without
    `loopback` this machine is not reachable, whatever else is allowed.
    """
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return False
    return all(_is_allowed(address, private, networks, loopback) for address in _meant(found))


def _is_allowed(address: Address, private: bool, networks: Sequence[Network], loopback: bool) -> bool:
    if is_loopback(address):
        return loopback and (private or _within(address, networks))
    if _within(address, _NEVER):
        return False
    return private or _within(address, networks) or _is_public(address)


def is_loopback(address: Address) -> bool:
    return _within(address, _LOOPBACK)


def _is_public(address: Address) -> bool:
    return not _within(address, _PRIVATE) and (address.version == 4 or address in _GLOBAL_UNICAST)


def _meant(address: Address) -> tuple[Address, ...]:
    """What a connection to `address` may reach: the IPv4 address that it carries, else itself; for ISATAP both."""
    if isinstance(address, IPv4Address):
        return (address,)
    for network, shift in _CARRIERS:
        if address in network:
            return (IPv4Address(int(address) >> shift & 0xFFFFFFFF),)
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def is_literal(host: str) -> bool:
    """Whether `host` is an address, and no name to resolve."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check_literal(host: str, *, private: bool, networks: Sequence[Network] = (), loopback: bool = True) -> None:
    """Raises AddressRefused when `host` is an address that is not allowed, or one in a form that is read in more than one way.

    Resolvers read ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` as addresses (inet_aton), and take full-width digits for digits;
    what checks a host and what connects to it must not differ in that.
    """
    text = host.strip("[]")
    if ":" not in text and host.isascii() and not _NUMBER.fullmatch(text.rstrip(".").rpartition(".")[2]):
        return  # a name: the resolver checks where it leads
    if not is_literal(text):
        raise AddressRefused(f"{host} is neither a host name nor an address in its usual form")
    if not is_allowed(text, private=private, networks=networks, loopback=loopback):
        raise AddressRefused(_refusal(host))


def _refusal(host: str, found: Sequence[str] = ()) -> str:
    leads = f"{host} leads to {', '.join(found)}, which is" if found else f"{host} is"
    return (
        f"{leads} not a public address; for a registry of your own set allowPrivateAddresses on the credential (and, in a "
        "cluster, have an administrator add the registry to AKUA_PRIVATE_REGISTRIES); for another host, such as the registry's "
        "storage, an administrator adds its network to AKUA_UPSTREAM_ALLOWED_NETWORKS"
    )


class OwnServers:
    """Where this process serves: at `ports` of loopback and of this machine's own addresses. Never an upstream."""

    def __init__(self, ports: Iterable[int] = ()) -> None:
        self._ports = frozenset(ports) - {0}

    def check(self, host: str, text: str, port: int) -> None:
        """Raises AddressRefused when the address `text` and `port` are one of ours."""
        if port in self._ports and any(_is_own(address) for address in _meant(ipaddress.ip_address(text.partition("%")[0]))):
            raise AddressRefused(f"{host}:{port} is where the proxy itself listens; it is never an upstream registry")


def _is_own(address: Address) -> bool:
    """Whether the address is this machine's: only such a one can be bound to."""
    if is_loopback(address) or address.is_unspecified:
        return True
    try:
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


class CheckedResolver(AbstractResolver):
    """Resolves for aiohttp, and lets only allowed addresses through. `overrides`: see `Connections`."""

    def __init__(
        self,
        networks: Sequence[str] = (),
        overrides: dict[str, str] | None = None,
        own: OwnServers | None = None,
        names: NameLookup | None = None,
    ) -> None:
        self._networks = _networks(*networks)
        self._overrides = overrides or {}
        self._own = own or OwnServers()
        self._names = names or NameLookup()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._lookup(host)
        private, loopback = private_addresses_allowed.get(), loopback_allowed.get()
        allowed = [text for text in found if is_allowed(text, private=private, networks=self._networks, loopback=loopback)]
        if not allowed:
            raise AddressRefused(_refusal(host, found))
        _, _, own_port = self._overrides.get(host, "").partition(":")
        reached = int(own_port or port)
        for text in allowed:
            self._own.check(host, text, reached)
        return [_result(host, text, reached) for text in allowed]

    async def _lookup(self, host: str) -> list[str]:
        if host in self._overrides:
            return [self._overrides[host].partition(":")[0]]
        return await self._names.addresses(host)

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )
