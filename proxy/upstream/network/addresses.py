"""Which network addresses upstreams may be at (`connections.reachable` has the table), and a resolver that pins what it checked.

A name is resolved once for a connection, every address is checked, and the connection goes to a checked address: a second answer
(DNS rebinding) is never asked for. This holds at every hop: registry, token service, redirect.
"""

from __future__ import annotations

import contextvars
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.errors import AddressRefused
from registry_access.runtime.connections.name_lookup import NameLookup, as_result
from registry_access.runtime.connections.reachable import (
    Address,
    Network,
    is_allowed,
    is_literal,
    is_loopback,
    meant_by,
    networks_of,
)

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)


private_addresses_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("private_addresses_allowed", default=False)
loopback_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("loopback_allowed", default=True)


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
        if port in self._ports and any(_is_own(address) for address in meant_by(ipaddress.ip_address(text.partition("%")[0]))):
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
        self._networks = networks_of(*networks)
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
        return [as_result(host, text, reached) for text in allowed]

    async def _lookup(self, host: str) -> list[str]:
        if host in self._overrides:
            return [self._overrides[host].partition(":")[0]]
        return await self._names.addresses(host)

    async def close(self) -> None:
        """Nothing is held."""
