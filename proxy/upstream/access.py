"""With what an upstream registry is asked: a workspace's credential and its secret, or neither."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.tenant_map import Key
from registry_access.model.resources import RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret


@dataclass(frozen=True, slots=True)
class UpstreamAccess:
    """A workspace's credential and its secret, or neither (anonymous)."""

    workspace: str
    credential: RegistryCredential | None = None
    secret: ResolvedSecret | None = None

    @property
    def network(self) -> ConnectionPolicy:
        found = self.credential
        return ConnectionPolicy(found.insecure, found.allow_private_addresses, found.realm_hosts) if found else ConnectionPolicy()

    def cache_key(self, registry: str) -> Key:
        """The key of all that is remembered of `registry`: neither another credential nor an older secret shares it."""
        uid = self.credential.metadata.uid if self.credential else ""
        return (self.workspace, uid, self.secret.fingerprint if self.secret else "", registry)
