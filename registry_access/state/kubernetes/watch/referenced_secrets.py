"""Which Secrets of workspaces are held, and what of them.

Anybody who may write Secrets in a workspace could otherwise fill every proxy's memory. Only Secrets that a credential of the
workspace names (or an install, as its kubeconfig) are held, with the values that a login can need, up to a total size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Install, Key, Kind, RegistryCredential
from registry_access.model.resources.metadata import INSTALL_LABEL, SECRET_LABEL, VERSION_LABEL
from registry_access.model.workspace_secret import KNOWN_NAMES, version_secret_name
from registry_access.state.index import Change, ResourceIndex

_PULL_SECRET_PREFIX = "akua-pull-"  # noqa: S105 - a name; they are bounded one by one
_KUBECONFIG_NAMES = frozenset({"kubeconfig", "value"})


@dataclass(slots=True)
class _Workspace:
    """Bytes of base64 by Secret, and those for which there was no room."""

    sizes: dict[str, int] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)


class ReferencedSecrets:
    """`maximum`: bytes of base64 that a workspace may have held. `reread` is called with a workspace whose Secrets must be read
    again, because one is named now that was passed over. Secrets of `system_namespace` and pull Secrets are held as they are.
    `kubeconfigs`: whether those of installs are held, which only an install sync needs.
    """

    def __init__(
        self,
        index: ResourceIndex,
        system_namespace: str,
        maximum: int,
        reread: Callable[[str], None],
        *,
        kubeconfigs: bool = True,
    ) -> None:
        self._index = index
        self._system_namespace = system_namespace
        self._maximum = maximum
        self._reread = reread
        self._workspaces: dict[str, _Workspace] = {}
        self._kubeconfigs: dict[tuple[str, str], int] = {}  # by how many installs
        index.subscribe(self._changed, {Kind.REGISTRY_CREDENTIAL, *([Kind.INSTALL] if kubeconfigs else [])})

    def narrowed(self, key: Key, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """What of a Secret's manifest is to be held; None: nothing. Raises InvalidManifest when there is no room for it."""
        labels = manifest.get("metadata", {}).get("labels")
        labels = labels if isinstance(labels, Mapping) else {}
        is_pull_secret = INSTALL_LABEL in labels and key.name.startswith(_PULL_SECRET_PREFIX)
        if key.namespace == self._system_namespace or is_pull_secret:
            return manifest
        names = self._names(key, labels)
        workspace = self._workspaces.setdefault(key.namespace, _Workspace())
        data = manifest.get("data")
        kept = {name: data[name] for name in names & data.keys()} if isinstance(data, Mapping) else {}
        size = sum(len(value) for value in kept.values() if isinstance(value, str))
        others = sum(each for name, each in workspace.sizes.items() if name != key.name)
        if not names or others + size > self._maximum:
            workspace.sizes.pop(key.name, None)
            if names:
                workspace.withheld.add(key.name)
                raise InvalidManifest(
                    f"the Secrets that credentials of workspace {key.namespace} name are larger than {self._maximum:,} bytes",
                    field="data",
                    remedy="remove old versions, or raise AKUA_WORKSPACE_SECRETS_MAXIMUM",
                    source=str(key),
                )
            self._tidy(key.namespace)
            return None
        workspace.withheld.discard(key.name)
        workspace.sizes[key.name] = size
        return {**manifest, "data": kept}

    def problem(self, workspace: str) -> str:
        """Why Secrets of a workspace are not held though they are named; "" when all are."""
        found = self._workspaces.get(workspace)
        if found is None or not found.withheld:
            return ""
        return f"its Secrets are larger than {self._maximum:,} bytes together, without room for {sorted(found.withheld)[0]}"

    def forget(self, key: Key) -> None:
        """The Secret is gone."""
        found = self._workspaces.get(key.namespace)
        if found is None:
            return
        freed = found.sizes.pop(key.name, 0)
        found.withheld.discard(key.name)
        if freed and found.withheld:
            self._reread(key.namespace)
        self._tidy(key.namespace)

    def bytes_held(self) -> int:
        return sum(sum(each.sizes.values()) for each in self._workspaces.values())

    def _tidy(self, workspace: str) -> None:
        found = self._workspaces.get(workspace)
        if found is not None and not found.sizes and not found.withheld:
            del self._workspaces[workspace]

    def _names(self, key: Key, labels: Mapping[str, Any]) -> frozenset[str]:
        """The names of values that can be needed of a Secret; none when nothing names it."""
        base, version = labels.get(SECRET_LABEL), labels.get(VERSION_LABEL)
        is_version = isinstance(base, str) and key.name == version_secret_name(base, str(version))
        named = self._index.is_named(key.namespace, key.name) or (is_version and self._index.is_named(key.namespace, str(base)))
        kubeconfig = (key.namespace, key.name) in self._kubeconfigs
        return (KNOWN_NAMES if named else frozenset()) | (_KUBECONFIG_NAMES if kubeconfig else frozenset())

    def _changed(self, change: Change) -> None:
        before, after = change.before, change.after
        if isinstance(before or after, Install):
            was, now = (each.kubeconfig_secret if isinstance(each, Install) else None for each in (before, after))
        else:
            was, now = (each.secret_name if isinstance(each, RegistryCredential) else None for each in (before, after))
        workspace = change.key.namespace
        if was == now:
            return
        if isinstance(before or after, Install):
            self._count(workspace, was, -1)
            self._count(workspace, now, 1)
        if was is not None:
            self._drop_unnamed(workspace, was)
        if now is not None:
            self._reread(workspace)

    def _count(self, workspace: str, name: str | None, by: int) -> None:
        if name is None:
            return
        count = self._kubeconfigs.pop((workspace, name), 0) + by
        if count > 0:
            self._kubeconfigs[workspace, name] = count

    def _drop_unnamed(self, workspace: str, name: str) -> None:
        for secret in self._index.secrets_behind(workspace, name):
            if not self._names(secret.key, secret.metadata.labels):
                self.forget(secret.key)
                self._index.remove(secret.key)
