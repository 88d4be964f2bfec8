"""Which Secrets a store watches, so that it needs the right to no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from registry_access.model.resources import Install, Key, Kind, Resource
from registry_access.model.resources.metadata import INSTALL_LABEL
from registry_access.state.kubernetes.client.resource_path import WatchScope

# Of a workspace's Secrets, those that no credential can be in need not be held.
_SECRET_FIELDS = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1"  # noqa: S105 - a selector


@dataclass(frozen=True, slots=True)
class SecretScopes:
    """Workspaces' Secrets or, with `kubeconfigs_only`, those that installs name as kubeconfigs; of `system_namespace` those
    `named` (None: all); with `pull_secrets`, the sync's everywhere.
    """

    system_namespace: str
    named: Collection[str] | None = None
    optional: Collection[str] = ()
    pull_secrets: bool = False
    kubeconfigs_only: bool = False
    _kubeconfigs: Counter[tuple[str, str]] = field(default_factory=Counter)  # workspace, Secret: by how many installs

    def installs_changed(self, before: Resource | None, after: Resource | None) -> bool:
        """Notes what an install names; whether that is another Secret than before."""
        left, named = _kubeconfig(before), _kubeconfig(after)
        if left == named:
            return False
        if left:
            self._kubeconfigs[left] -= 1
        if named:
            self._kubeconfigs[named] += 1
        return True

    def of_workspace(self, workspace: str) -> WatchScope:
        """The scope of all Secrets of a workspace that a credential can need."""
        return WatchScope(Kind.SECRET, workspace, field_selector=_SECRET_FIELDS)

    def is_shared(self, scope: WatchScope) -> bool:
        """Whether it does not belong to a single workspace."""
        return scope.kind is not Kind.SECRET or scope.namespace in ("", self.system_namespace)

    def wanted(self, workspaces: Collection[str], leaving: Collection[str] = ()) -> set[WatchScope]:
        """For these workspaces; `leaving`: those that are being deleted, whose remote clusters are still to be cleared."""
        namespaces = set() if self.kubeconfigs_only else set(workspaces)
        owners = {*workspaces, *leaving} if self.kubeconfigs_only else set()
        named = {name for name, installs in self._kubeconfigs.items() if installs > 0 and name[0] in owners}
        scopes = {WatchScope(Kind.SECRET, workspace, field_selector=_field(name)) for workspace, name in named}
        if self.named is None:
            namespaces.add(self.system_namespace)
        else:
            # As a workspace, our own namespace would be read whole after all.
            namespaces.discard(self.system_namespace)
            scopes |= {WatchScope(Kind.SECRET, self.system_namespace, field_selector=_field(name)) for name in self.named}
        scopes |= {self.of_workspace(namespace) for namespace in namespaces}
        if self.pull_secrets:
            scopes.add(WatchScope(Kind.SECRET, label_selector=INSTALL_LABEL))
        return scopes

    def is_named(self, key: Key) -> bool:
        """Whether our right to the object is by its name alone."""
        return key.kind is Kind.SECRET and key.namespace == self.system_namespace and key.name in (self.named or ())

    def is_needed(self, scope: WatchScope) -> bool:
        """Whether nothing can be served without it: all but workspaces' Secrets, the sync's, and optional ones."""
        if scope.kind is not Kind.SECRET:
            return True
        return scope.namespace == self.system_namespace and scope.field_selector not in map(_field, self.optional)


def _kubeconfig(resource: Resource | None) -> tuple[str, str] | None:
    if not isinstance(resource, Install) or not resource.kubeconfig_secret:
        return None
    return resource.workspace, resource.kubeconfig_secret


def _field(name: str) -> str:
    return f"metadata.name={name}"
