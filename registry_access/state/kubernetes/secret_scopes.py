"""Which Secrets a store watches, so that it needs the right to no others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from registry_access.model.resources import Key, Kind
from registry_access.model.resources.metadata import INSTALL_LABEL
from registry_access.state.kubernetes.resource_path import Scope

# Of a workspace's Secrets, those that no credential can be in need not be held.
_SECRET_FIELDS = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1"  # noqa: S105 - a selector


@dataclass(frozen=True, slots=True)
class SecretScopes:
    """Workspaces' Secrets; of `system_namespace` those `named` (None: all); with `pull_secrets`, the sync's everywhere."""

    system_namespace: str
    named: Collection[str] | None = None
    optional: Collection[str] = ()
    pull_secrets: bool = False

    def wanted(self, workspaces: Collection[str]) -> set[Scope]:
        namespaces = set(workspaces)
        scopes: set[Scope] = set()
        if self.named is None:
            namespaces.add(self.system_namespace)
        else:
            # As a workspace, our own namespace would be read whole after all.
            namespaces.discard(self.system_namespace)
            scopes |= {Scope(Kind.SECRET, self.system_namespace, field_selector=_field(name)) for name in self.named}
        scopes |= {Scope(Kind.SECRET, namespace, field_selector=_SECRET_FIELDS) for namespace in namespaces}
        if self.pull_secrets:
            scopes.add(Scope(Kind.SECRET, label_selector=INSTALL_LABEL))
        return scopes

    def is_named(self, key: Key) -> bool:
        """Whether our right to the object is by its name alone."""
        return key.kind is Kind.SECRET and key.namespace == self.system_namespace and key.name in (self.named or ())

    def is_needed(self, scope: Scope) -> bool:
        """Whether nothing can be served without it: all but workspaces' Secrets, the sync's, and optional ones."""
        if scope.kind is not Kind.SECRET:
            return True
        return scope.namespace == self.system_namespace and scope.field_selector not in map(_field, self.optional)


def _field(name: str) -> str:
    return f"metadata.name={name}"
