"""How the proxy speaks to upstream registries."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Times in seconds. `allowed_networks` are CIDRs that may be reached although they are private. `identity_workspaces`: whose
    credentials without keys may log in by the proxy's own cloud identity; * for any.
    """

    connect_seconds: float = 10.0
    headers_seconds: float = 25.0  # containerd gives up after 30
    idle_seconds: float = 30.0  # between two pieces of a body
    login_seconds: float = 15.0
    allowed_networks: tuple[str, ...] = ()
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
class Access:
    """Whether one upstream may be spoken to plainly, and at private addresses."""

    insecure: bool = False
    private_addresses: bool = False
    realm_hosts: tuple[str, ...] = field(default=())
