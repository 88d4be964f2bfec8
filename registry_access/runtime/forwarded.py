"""The address of a client behind load balancers, by `X-Forwarded-For`, as far as the peers that wrote it are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def forwarded_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusts: Callable[[str], bool]) -> str:
    """The nearest address that is not trusted: everything left of it was written by that client itself.

    `peer` when it is not trusted, when the header is absent, or when all addresses are trusted.
    """
    if not trusts(peer):
        return peer
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    for hop in reversed([part.strip() for line in lines for part in line.split(",")]):
        address = _without_port(hop)
        if not trusts(address):
            return address or peer
    return peer


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
