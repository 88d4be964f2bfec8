"""Which registries an administrator lets be at private addresses, and be spoken to without TLS.

A workspace's member asks for either on a credential (`allowPrivateAddresses`, `insecure`). That alone opens nothing: in a shared
cluster he would otherwise point the proxy at whatever listens in its network.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult

ANY = "*"
_DEFAULT_PORTS = {"https": 443, "http": 80}


class PrivateRegistries:
    """`entries` are host[:port] as credentials write them, or * for any that a credential names."""

    def __init__(self, entries: Iterable[str]) -> None:
        listed = frozenset(entry.lower().rstrip(".") for entry in entries)
        self._any = ANY in listed
        self._listed = listed - {ANY}

    def permits(self, parts: SplitResult) -> bool:
        """Whether the host of a URL that a credential names may be private or plain."""
        return self._any or self.lists(parts)

    def lists(self, parts: SplitResult) -> bool:
        """Whether the administrator named that very host and port, so that another registry's redirect may lead there too."""
        return not self._listed.isdisjoint(_names(parts))


def _names(parts: SplitResult) -> set[str]:
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = port_of(parts)
    return {f"{host}:{port}"} | ({host} if port == _DEFAULT_PORTS.get(parts.scheme) else set())


def port_of(parts: SplitResult) -> int:
    """The port, by scheme where the URL has none. Raises ValueError if it is not a port number."""
    return parts.port if parts.port is not None else _DEFAULT_PORTS.get(parts.scheme, 0)
