"""Which network addresses may be connected to on somebody else's word: one table, for upstream registries and for the clusters
of kubeconfigs that workspaces bring.

The table is our own, so that it does not change with Python's `ipaddress` ("is_private" has, several times).

Sources: RFC 6890 and the IANA special-purpose address registries; RFC 4291 (IPv4-compatible, mapped), RFC 6052 and RFC 8215
(NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP), RFC 3879 (site-local); the clouds' documentation of their metadata
services.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def networks_of(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_LOOPBACK = networks_of("127.0.0.0/8", "::1/128")
# Not even where private addresses are allowed.
_NEVER = networks_of(
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
_PRIVATE = networks_of(
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
    return all(_is_allowed(address, private, networks, loopback) for address in meant_by(found))


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


def meant_by(address: Address) -> tuple[Address, ...]:
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
