"""Which installs a change affects. The cost depends on how many those are, not on how many exist."""

from __future__ import annotations

from collections.abc import Collection

from registry_access.model.resources import Install, Kind, Namespace, PullGrant
from registry_access.model.resources.metadata import PULLABLE, SYNC_REQUESTED_ANNOTATION, SYSTEM_NAMESPACE, condition_of
from registry_access.state.index import Change, ChangeType, ResourceIndex
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.objects.ownership import PULL_SECRET_PREFIX, Name, owner_of
from webhook.install_sync.queue.references import InstallReferences

WATCHED = frozenset({Kind.INSTALL, Kind.PRODUCT, Kind.NAMESPACE, Kind.PULL_GRANT, Kind.SECRET})


class AffectedInstalls:
    """Call it with a change of one of the kinds `WATCHED`."""

    def __init__(self, index: ResourceIndex, local: TargetCluster, references: InstallReferences) -> None:
        self._index = index
        self._local = local
        self._references = references

    def everything(self) -> set[Name]:
        """Every install, and every one that something is left of."""
        installs = {(install.workspace, install.metadata.name) for install in self._index.installs()}
        return installs | set(self._local.owners())

    def __call__(self, change: Change) -> Collection[Name]:
        space, name = change.key.namespace, change.key.name
        match change.key.kind:
            case Kind.INSTALL:
                return [(space, name)] if _matters(change) else ()
            case Kind.PRODUCT:
                return self._references.of_product(space, name)
            case Kind.NAMESPACE:
                before, after = (_namespace(item) for item in (change.before, change.after))
                found = self._references.targeting(before, after)
                owns = _is_workspace(before) != _is_workspace(after) or _asked(before) != _asked(after)
                return found.union(self._references.of_workspace(name)) if owns else found
            case _:
                return self._concerned(change)

    def _concerned(self, change: Change) -> set[Name]:
        """By a change of a pull grant or a Secret: whose it is, whose way it was in, who overlaps, whose kubeconfig it is."""
        key = change.key
        if (key.namespace, key.name) == (SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS):
            return self.everything()  # tokens of a key that was burnt are replaced at once
        names = {owner for resource in (change.before, change.after) if (owner := owner_of(resource))}
        if change.type is ChangeType.DELETED:
            blocked = key.name if key.kind is Kind.PULL_GRANT else key.name.removeprefix(PULL_SECRET_PREFIX)
            names.update(self._references.named(blocked))
        if key.kind is Kind.PULL_GRANT:
            names |= self._overlapping(change)
        elif not names:
            names.update(self._references.of_kubeconfig(key.namespace, key.name))
        return names

    def _overlapping(self, change: Change) -> set[Name]:
        """Those whose status says, or must say, that another install's grant selects the same pods."""
        states = [item for item in (change.before, change.after) if isinstance(item, PullGrant)]
        if len(states) == 2 and states[0].pod_selector == states[1].pod_selector:
            return set()
        return {
            owner
            for grant in self._index.grants(change.key.namespace)
            if (owner := owner_of(grant)) and any(grant.pod_selector.may_overlap(state.pod_selector) for state in states)
        }


def _namespace(resource: object) -> Namespace | None:
    return resource if isinstance(resource, Namespace) else None


def _is_workspace(namespace: Namespace | None) -> bool | None:
    return None if namespace is None else namespace.is_workspace and not namespace.deleting


def _asked(namespace: Namespace | None) -> str:
    return namespace.metadata.annotations.get(SYNC_REQUESTED_ANNOTATION, "") if namespace else ""


def _matters(change: Change) -> bool:
    """Ignores changes of the status, which is ours, but for what the proxy says of pulls."""
    before, after = change.before, change.after
    return not isinstance(before, Install) or not isinstance(after, Install) or _asks(before) != _asks(after)


def _asks(install: Install) -> tuple[object, ...]:
    metadata = install.metadata
    pullable = condition_of(install.status.conditions, PULLABLE)
    met = (pullable.status, pullable.reason, pullable.message) if pullable else ()
    return metadata.uid, metadata.generation, dict(metadata.annotations), install.deleting, met
