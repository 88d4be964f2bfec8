"""How the proxy speaks to upstream registries."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Times in seconds.

    `login_seconds` bounds a whole login, its retry included. `circuit_failures` 0: no registry is left alone.
    `allowed_networks` are CIDRs that any upstream may be in although they are private. `private_registries` (host[:port], *
    for any) are those whose credentials may ask for private addresses or plain HTTP. `own_ports` are the ports that this
    process serves at: they are never an upstream. `identity_workspaces`: whose credentials without keys may log in by the
    proxy's own cloud identity, * for any.
    """

    connect_seconds: float = 10.0
    headers_seconds: float = 60.0  # the clients wait: ctr, CRI and skopeo set no deadline of their own below it
    idle_seconds: float = 30.0  # between two pieces of a body
    login_seconds: float = 15.0
    allowed_networks: tuple[str, ...] = ()
    private_registries: tuple[str, ...] = ("*",)
    own_ports: tuple[int, ...] = ()
    ca_file: str = ""
    identity_workspaces: tuple[str, ...] = ("*",)
    redirects: int = 5
    circuit_failures: int = 5
    circuit_seconds: float = 10.0

    def lends_identity(self, workspace: str) -> bool:
        """Whether the proxy's own cloud identity may be used for `workspace`."""
        return workspace in self.identity_workspaces or "*" in self.identity_workspaces

    def tls(self) -> ssl.SSLContext:
        """A client context that verifies certificates and host names, with `ca_file` beside the system's roots."""
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        return context


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """What one credential asks for: plain HTTP, private addresses, further hosts that may issue tokens for it."""

    insecure: bool = False
    private_addresses: bool = False
    realm_hosts: tuple[str, ...] = field(default=())
