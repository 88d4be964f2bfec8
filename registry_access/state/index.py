"""The live in-memory view that every adapter feeds and every decision reads.

One event loop owns it: reads are synchronous and consistent between two awaits. Lookups use dictionaries, so that a decision
takes the same time with thousands of installs and tens of thousands of grants.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from registry_access.model.entitlement import Entitlement, entitlement_of
from registry_access.model.resources import (
    Install,
    Key,
    Kind,
    Namespace,
    Product,
    PullGrant,
    RegistryCredential,
    Resource,
    Secret,
)
from registry_access.model.resources.metadata import RESERVED_NAMESPACES, WORKSPACE_LABEL
from registry_access.model.workspace_secret import base_of

logger = logging.getLogger(__name__)
R = TypeVar("R", Namespace, Secret, RegistryCredential, Product, Install, PullGrant)
Member = TypeVar("Member", RegistryCredential, PullGrant)
Group = TypeVar("Group")


class ChangeType(StrEnum):
    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One object's change; `before` is None when it was added, `after` when it was deleted."""

    type: ChangeType
    key: Key
    before: Resource | None
    after: Resource | None


Subscriber = Callable[[Change], None]
Unsubscribe = Callable[[], None]


class ResourceIndex:
    """Objects by identity, credentials by registry, grants by namespace.

    `install` and `credentials`, which decide about pulls, leave out objects that are deleted and only held back by a
    finalizer; `get` and `of_kind`, which controllers work from, show them.

    `sees_namespaces`: every namespace that exists is in the index. In a folder none need be, and a person may not be allowed to
    list a cluster's; a namespace that is not in the index may then be a workspace all the same.
    """

    def __init__(self, *, sees_namespaces: bool = False) -> None:
        self.sees_namespaces = sees_namespaces
        self._by_kind: dict[Kind, dict[Key, Resource]] = {kind: {} for kind in Kind}
        self._credentials: dict[tuple[str, str], tuple[RegistryCredential, ...]] = {}
        self._grants: dict[str, tuple[PullGrant, ...]] = {}
        self._workspaces: dict[str, None] = {}
        self._naming: dict[tuple[str, str], set[Key]] = {}  # workspace and secretName: the credentials
        self._versions: dict[tuple[str, str], dict[Key, Secret]] = {}  # workspace and workspace secret: its version Secrets
        self._subscribers: dict[object, tuple[frozenset[Kind] | None, Subscriber]] = {}

    def get(self, key: Key) -> Resource | None:
        return self._by_kind[key.kind].get(key)

    def of_kind(self, kind: Kind) -> Collection[Resource]:
        """A live view; copy it before awaiting."""
        return self._by_kind[kind].values()

    def install(self, workspace: str, name: str) -> Install | None:
        install = self._find(Kind.INSTALL, Install, workspace, name)
        return None if install is not None and install.deleting else install

    def product(self, workspace: str, name: str) -> Product | None:
        return self._find(Kind.PRODUCT, Product, workspace, name)

    def entitlement(self, install: Install) -> Entitlement:
        """What `install` may pull: its own repositories, and its product's if that exists."""
        product = self.product(install.workspace, install.product) if install.product else None
        return entitlement_of(install.repositories, product.repositories if product else ())

    def secret(self, namespace: str, name: str) -> Secret | None:
        return self._find(Kind.SECRET, Secret, namespace, name)

    def is_named(self, workspace: str, secret: str) -> bool:
        """Whether a credential of the workspace names this workspace secret."""
        return (workspace, secret) in self._naming

    def secrets_behind(self, workspace: str, name: str) -> Sequence[Secret]:
        """The Secret of that name and the versions of it."""
        head = self.secret(workspace, name)
        return [*([head] if head else []), *self._versions.get((workspace, name), {}).values()]

    def credential(self, workspace: str, name: str) -> RegistryCredential | None:
        return self._find(Kind.REGISTRY_CREDENTIAL, RegistryCredential, workspace, name)

    def namespace(self, name: str) -> Namespace | None:
        return self._find(Kind.NAMESPACE, Namespace, "", name)

    def credentials(self, workspace: str, registry: str) -> Sequence[RegistryCredential]:
        """The credentials of a workspace for one upstream registry (normalized), disabled ones included, by name."""
        return self._credentials.get((workspace, registry), ())

    def grants(self, namespace: str) -> Sequence[PullGrant]:
        """The pull grants of a target namespace, by name."""
        return self._grants.get(namespace, ())

    def namespaces(self) -> Sequence[Namespace]:
        return self._all(Kind.NAMESPACE, Namespace)

    def installs(self) -> Sequence[Install]:
        return self._all(Kind.INSTALL, Install)

    def products(self) -> Sequence[Product]:
        return self._all(Kind.PRODUCT, Product)

    def secrets(self) -> Sequence[Secret]:
        return self._all(Kind.SECRET, Secret)

    def all_credentials(self) -> Sequence[RegistryCredential]:
        return self._all(Kind.REGISTRY_CREDENTIAL, RegistryCredential)

    def all_grants(self) -> Sequence[PullGrant]:
        return self._all(Kind.PULL_GRANT, PullGrant)

    def workspaces(self) -> Sequence[str]:
        """Names of the namespaces that are labelled as workspaces, sorted."""
        return sorted(self._workspaces)

    def workspace_problem(self, name: str) -> str:
        """Why the namespace `name` is not a workspace, with a remedy; "" if it is one.

        Resources in such a namespace have no effect: no token is minted, no pull is allowed, no grant is written.
        """
        namespace = self.namespace(name)
        if name in RESERVED_NAMESPACES:
            return f"namespace {name} is reserved and cannot be a workspace; use another namespace"
        if namespace is None:
            return f"namespace {name} does not exist" if self.sees_namespaces else ""
        if namespace.deleting:
            return f"namespace {name} is being deleted"
        if namespace.is_workspace:
            return ""
        return (
            f"namespace {name} is not a workspace: it does not have the label {WORKSPACE_LABEL}=true; ask a cluster "
            f"administrator to add it (kubectl label namespace {name} {WORKSPACE_LABEL}=true)"
        )

    def subscribe(self, subscriber: Subscriber, kinds: Collection[Kind] | None = None) -> Unsubscribe:
        """Calls `subscriber` after each change of `kinds` (None: all), at once and in order. It must not block."""
        handle = object()
        self._subscribers[handle] = (frozenset(kinds) if kinds is not None else None, subscriber)

        def unsubscribe() -> None:
            self._subscribers.pop(handle, None)

        return unsubscribe

    def put(self, resource: Resource, key: Key | None = None) -> None:
        """For adapters. Adds or replaces an object; the same resource version again is nothing new.

        Another UID under the same name is announced as a deletion and an addition. `key`: the object's,
        where the caller holds it anyway, so that there need not be two.
        """
        key = key or resource.key
        before = self.get(key)
        if before is not None and _same_version(before, resource):
            return
        if before is not None and before.metadata.uid != resource.metadata.uid:
            self.remove(key)
            before = None
        self._by_kind[key.kind][key] = resource
        if before is not None:
            self._unlist(before)
        self._list(resource)
        self._announce(Change(ChangeType.ADDED if before is None else ChangeType.UPDATED, key, before, resource))

    def remove(self, key: Key) -> None:
        """For adapters. Removes an object, if it is there."""
        before = self._by_kind[key.kind].pop(key, None)
        if before is not None:
            self._unlist(before)
            self._announce(Change(ChangeType.DELETED, key, before, None))

    def replace(self, kind: Kind, resources: Iterable[Resource]) -> None:
        """For adapters. Makes `resources` all that there is of `kind`: deletions first, then what is new or changed."""
        wanted = {resource.key: resource for resource in resources}
        for key in self._by_kind[kind].keys() - wanted.keys():
            self.remove(key)
        for resource in wanted.values():
            self.put(resource)

    def _find(self, kind: Kind, type: type[R], namespace: str, name: str) -> R | None:
        found = self._by_kind[kind].get(Key(kind, namespace, name))
        return found if isinstance(found, type) else None

    def _all(self, kind: Kind, type: type[R]) -> Sequence[R]:
        return [resource for resource in self._by_kind[kind].values() if isinstance(resource, type)]

    def _announce(self, change: Change) -> None:
        for kinds, subscriber in tuple(self._subscribers.values()):
            if kinds is None or change.key.kind in kinds:
                try:
                    subscriber(change)
                except Exception:
                    # One part's bug must not keep a revocation from the others.
                    logger.exception("unexpected error in a subscriber to changes of %s", change.key)

    def _list(self, resource: Resource) -> None:
        if isinstance(resource, RegistryCredential) and resource.secret_name is not None:
            self._naming.setdefault((resource.workspace, resource.secret_name), set()).add(resource.key)
        elif isinstance(resource, Secret) and (base := base_of(resource)):
            self._versions.setdefault((resource.metadata.namespace, base), {})[resource.key] = resource
        if isinstance(resource, RegistryCredential) and not resource.deleting:
            _insert(self._credentials, (resource.metadata.namespace, resource.registry), resource)
        elif isinstance(resource, PullGrant) and not resource.deleting:
            _insert(self._grants, resource.metadata.namespace, resource)
        elif isinstance(resource, Namespace) and resource.is_workspace and not resource.deleting:
            self._workspaces[resource.metadata.name] = None

    def _unlist(self, resource: Resource) -> None:
        if isinstance(resource, RegistryCredential) and resource.secret_name is not None:
            _discard(self._naming, (resource.workspace, resource.secret_name), resource.key)
        elif isinstance(resource, Secret) and (base := base_of(resource)):
            _discard(self._versions, (resource.metadata.namespace, base), resource.key)
        if isinstance(resource, RegistryCredential):
            _drop(self._credentials, (resource.metadata.namespace, resource.registry), resource)
        elif isinstance(resource, PullGrant):
            _drop(self._grants, resource.metadata.namespace, resource)
        elif isinstance(resource, Namespace):
            self._workspaces.pop(resource.metadata.name, None)


def _same_version(one: Resource, other: Resource) -> bool:
    version = one.metadata.resource_version
    return bool(version) and version == other.metadata.resource_version and one.metadata.uid == other.metadata.uid


def _insert(groups: dict[Group, tuple[Member, ...]], group: Group, member: Member) -> None:
    # Readers hold these tuples: they are replaced, never changed.
    members = list(groups.get(group, ()))
    members.append(member)
    groups[group] = tuple(sorted(members, key=lambda item: item.metadata.name))


def _discard(groups: dict[Group, Any], group: Group, key: Key) -> None:
    members = groups.get(group)
    if members is None:
        return
    if isinstance(members, set):
        members.discard(key)
    else:
        members.pop(key, None)
    if not members:
        del groups[group]


def _drop(groups: dict[Group, tuple[Member, ...]], group: Group, member: Member) -> None:
    remaining = tuple(item for item in groups.get(group, ()) if item.metadata.name != member.metadata.name)
    if remaining:
        groups[group] = remaining
    else:
        groups.pop(group, None)
