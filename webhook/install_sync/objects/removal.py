"""Removes everything of an install that is deleted or moved to another cluster.

In this cluster, labels identify what was written, whatever happened in between. In a remote cluster only the install says where
to look, so such an install has a finalizer. It never blocks for long: it is removed after the remote cluster was unreachable for
five minutes, and at once when the kubeconfig no longer exists; an Event then lists what is left behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from registry_access.model.errors import AkuaError, InvalidInput, NotFound
from registry_access.model.listing import and_more
from registry_access.model.occurrence import EventReason, occurrence
from registry_access.model.resources import Install
from registry_access.model.resources.install import MAXIMUM_CLUSTERS
from registry_access.model.resources.metadata import REMOTE_FINALIZER
from registry_access.state.event_recorder import Recorder
from registry_access.state.interface import StateStore
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.objects.ownership import Name, pull_secret_name
from webhook.install_sync.objects.provisioner import Provisioner
from webhook.install_sync.reports.reporting import SYNC

logger = logging.getLogger(__name__)
GIVE_UP_SECONDS = 300.0
_SHOWN = 5


class ClustersToClear(Protocol):
    """The clusters that an install was in."""

    @property
    def local(self) -> TargetCluster: ...

    async def to_clear(self, workspace: str, secret: str) -> TargetCluster:
        """The one that the kubeconfig Secret reaches, or reached until a moment ago. Raises NotFound when the Secret is gone,
        InvalidInput and StateUnavailable when it cannot be used now."""
        ...


@dataclass(slots=True)
class Removal:
    """`holds`: whether the state keeps a deleted object until its finalizers are gone. `clock` gives epoch seconds."""

    store: StateStore
    clusters: ClustersToClear
    provisioner: Provisioner
    events: Recorder
    clock: Callable[[], float]
    holds: bool
    _remotes: dict[Name, set[str]] = field(default_factory=dict)  # for a state that does not

    async def mark(self, install: Install, secret: str) -> Install:
        """Before anything is written to the remote cluster of `secret`: where to look once the install is deleted.

        Raises StateError; Conflict when it was deleted or changed meanwhile; InvalidInput when it is in too many already.
        """
        known = {*install.status.clusters, secret}
        if len(known) > MAXIMUM_CLUSTERS:
            raise InvalidInput(
                f"the install was sent to {MAXIMUM_CLUSTERS} other clusters, which are not cleared yet: "
                f"Secrets {', '.join(sorted(install.status.clusters)[:_SHOWN])} and others",
                field="spec.cluster.kubeconfigSecret",
                remedy="wait until they are cleared, or delete the install and create another",
            )
        self._remotes.setdefault(_name(install), set()).add(secret)
        if self.holds and REMOTE_FINALIZER not in install.metadata.finalizers:
            install = await self._with_finalizers(install, (*install.metadata.finalizers, REMOTE_FINALIZER))
        if secret not in install.status.clusters:
            install = await self._with_clusters(install, known)
        return install

    async def leave(self, install: Install, stay: TargetCluster | None) -> Install:
        """Clears the clusters where an install was before it was sent to `stay`; None: it is to be nowhere.

        Raises StateError when one is left to try.
        """
        if stay is not self.clusters.local:
            await self.provisioner.remove(self.clusters.local, *_name(install))
        # A kubeconfig that nothing was ever written with need not be connected to in order to clear.
        left = {*install.status.clusters, *self._remotes.get(_name(install), ())} - (
            {install.kubeconfig_secret} if stay else set()
        )
        for secret in sorted(left):
            try:
                await self._clear(install.workspace, install.metadata.name, secret)
            except NotFound as gone:
                self._record_left_behind(install, secret, gone)
            self._remotes.get(_name(install), set()).discard(secret)
            install = await self._with_clusters(install, {*install.status.clusters} - {secret})
        if REMOTE_FINALIZER in install.metadata.finalizers and (stay is None or not install.kubeconfig_secret):
            install = await self._let_go(install)
        return install

    async def remove(self, install: Install) -> str:
        """Clears up after an install that is being deleted, and lets it go. Returns what is in the way for now, "" for nothing.

        Raises StateError.
        """
        problem = ""
        deleted = install.metadata.deletion_time
        over = deleted is not None and self.clock() - deleted.timestamp() >= GIVE_UP_SECONDS
        for secret in sorted(self._known_remotes(install)):
            try:
                await self._clear(install.workspace, install.metadata.name, secret)
            except AkuaError as error:
                if not isinstance(error, NotFound) and not over:
                    problem = f"the cluster of Secret {secret} cannot be cleared: {error}"
                    note = f"{problem}; tried for {GIVE_UP_SECONDS / 60:g} minutes, then the install goes anyway"
                    self.events.record(occurrence(install, EventReason.REMOVAL_WAITS, SYNC, note, warning=True, alike=secret))
                    continue
                self._record_left_behind(install, secret, error)
            self._remotes.get(_name(install), set()).discard(secret)
        if not problem and REMOTE_FINALIZER in install.metadata.finalizers:
            await self._let_go(install)
        await self.provisioner.remove(self.clusters.local, *_name(install))
        return problem

    async def forget(self, workspace: str, name: str) -> str:
        """Clears up after an install that is gone, wherever it is known to have been. Returns as `remove` does."""
        problem = ""
        remotes = self._remotes.get((workspace, name), set())
        for secret in sorted(remotes):
            try:
                await self._clear(workspace, name, secret)
            except NotFound as gone:
                logger.warning("objects of install %s/%s are left in the cluster of %s: %s", workspace, name, secret, gone)
            except AkuaError as error:
                problem = str(error)
                continue
            remotes.discard(secret)
        if not remotes:
            self._remotes.pop((workspace, name), None)
        try:
            await self.provisioner.remove(self.clusters.local, workspace, name)
        except AkuaError as error:
            problem = str(error)
        return problem

    async def _clear(self, workspace: str, name: str, secret: str) -> None:
        cluster = await self.clusters.to_clear(workspace, secret)
        await cluster.refresh()
        await self.provisioner.remove(cluster, workspace, name)

    def _known_remotes(self, install: Install) -> set[str]:
        named = {install.kubeconfig_secret} if install.kubeconfig_secret else set()
        return {*install.status.clusters, *self._remotes.get(_name(install), ()), *named}

    def _record_left_behind(self, install: Install, secret: str, error: AkuaError) -> None:
        spaces = [target.namespace for target in install.status.targets]
        where = and_more(spaces, _SHOWN)
        name = install.metadata.name
        token = "opens nothing any more" if install.deleting else "is still good until spec.tokenGeneration is raised"
        note = (
            f"the cluster of Secret {secret} could not be cleared: {error}. Left there: PullGrant {name} and Secret "
            f"{pull_secret_name(name)} in {where or 'its target namespaces'}; remove them by hand. The token in it {token}"
        )
        logger.warning("install %s/%s: %s", install.workspace, name, note)
        self.events.record(occurrence(install, EventReason.REMOTE_OBJECTS_LEFT, SYNC, note, warning=True, alike=secret))

    async def _let_go(self, install: Install) -> Install:
        return await self._with_finalizers(install, (each for each in install.metadata.finalizers if each != REMOTE_FINALIZER))

    async def _with_finalizers(self, install: Install, finalizers: Iterable[str]) -> Install:
        change = {"metadata": {"finalizers": list(finalizers)}}
        try:
            written = await self.store.patch(install.key, change, resource_version=install.metadata.resource_version)
        except NotFound:
            return install
        return written if isinstance(written, Install) else install

    async def _with_clusters(self, install: Install, secrets: set[str]) -> Install:
        if secrets == set(install.status.clusters):
            return install
        written = await self.store.patch_status(install.key, {"clusters": sorted(secrets)})
        return written if isinstance(written, Install) else install


def _name(install: Install) -> Name:
    return install.workspace, install.metadata.name
