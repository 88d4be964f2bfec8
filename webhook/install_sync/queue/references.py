"""What installs name, the other way round: a change of a product, a namespace or a Secret finds its installs by dictionary.

With thousands of installs, asking each of them at every change would cost more than what the change asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, Generic, TypeVar

from registry_access.model.label_selector import LabelSelector
from registry_access.model.resources import Install, Kind, Namespace
from registry_access.state.index import Change, ResourceIndex
from webhook.install_sync.objects.admittance import named_by
from webhook.install_sync.objects.ownership import Name

K = TypeVar("K", bound=Hashable)


class _Groups(Generic[K]):
    """Installs by what they have in common."""

    def __init__(self) -> None:
        self._members: dict[K, set[Name]] = {}

    def add(self, key: K, name: Name) -> None:
        self._members.setdefault(key, set()).add(name)

    def discard(self, key: K, name: Name) -> None:
        members = self._members.get(key, set())
        members.discard(name)
        if not members:
            self._members.pop(key, None)

    def of(self, key: K) -> Collection[Name]:
        return tuple(self._members.get(key, ()))

    def __iter__(self) -> Iterator[K]:
        return iter(self._members)


class InstallReferences:
    """Follows the installs of `index`, those that are being deleted included."""

    def __init__(self, index: ResourceIndex) -> None:
        self._workspaces: _Groups[str] = _Groups()
        self._names: _Groups[str] = _Groups()
        self._products: _Groups[tuple[str, str]] = _Groups()
        self._kubeconfigs: _Groups[tuple[str, str]] = _Groups()
        self._namespaces: _Groups[str] = _Groups()
        self._selectors: _Groups[LabelSelector] = _Groups()
        for install in index.installs():
            self._each(install, _Groups.add)
        index.subscribe(self._changed, {Kind.INSTALL})

    def of_workspace(self, workspace: str) -> Collection[Name]:
        return self._workspaces.of(workspace)

    def named(self, install: str) -> Collection[Name]:
        """Those of that name, in whatever workspace."""
        return self._names.of(install)

    def of_product(self, workspace: str, product: str) -> Collection[Name]:
        return self._products.of((workspace, product))

    def of_kubeconfig(self, workspace: str, secret: str) -> Collection[Name]:
        return self._kubeconfigs.of((workspace, secret))

    def targeting(self, before: Namespace | None, after: Namespace | None) -> set[Name]:
        """Those to which it makes a difference that a namespace of this cluster is `after` now; None: not there."""
        space = after or before
        if space is None:
            return set()
        moved = before is None or after is None or _differs(before, after)
        found = set(self._namespaces.of(space.metadata.name)) if moved else set()
        for selector in self._selectors:
            was, is_now = (item is not None and selector.matches(item.metadata.labels) for item in (before, after))
            if was != is_now or (moved and is_now):
                found.update(self._selectors.of(selector))
        return found

    def _changed(self, change: Change) -> None:
        if isinstance(change.before, Install):
            self._each(change.before, _Groups.discard)
        if isinstance(change.after, Install):
            self._each(change.after, _Groups.add)

    def _each(self, install: Install, do: Callable[[_Groups[Any], Hashable, Name], None]) -> None:
        """Adds an install to every group that it belongs to, or discards it."""
        name = (install.workspace, install.metadata.name)
        do(self._workspaces, install.workspace, name)
        do(self._names, install.metadata.name, name)
        if install.product:
            do(self._products, (install.workspace, install.product), name)
        if install.kubeconfig_secret:
            do(self._kubeconfigs, (install.workspace, install.kubeconfig_secret), name)
            return  # its targets are of another cluster
        for target in install.targets:
            if target.namespace is not None:
                do(self._namespaces, target.namespace, name)
            elif target.namespace_selector is not None:
                do(self._selectors, target.namespace_selector, name)


def _differs(before: Namespace, after: Namespace) -> bool:
    """In what decides about every install there, whatever its labels."""
    return before.deleting != after.deleting or named_by(before) != named_by(after)
