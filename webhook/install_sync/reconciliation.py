"""Reconciles one install: writes what its cluster should have, removes what it should not, and reports in the status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from registry_access.model.errors import AkuaError, InvalidInput
from registry_access.model.resources import Install, Key, Kind, Secret, TargetStatus
from registry_access.state.event_recorder import Recorder
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import SigningKeys
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.objects.compilation import place
from webhook.install_sync.objects.minting import InstallToken, Minting, token_in
from webhook.install_sync.objects.ownership import Name
from webhook.install_sync.objects.provisioner import Provisioner, may_pass, overlaps
from webhook.install_sync.objects.removal import ClustersToClear, Removal
from webhook.install_sync.reports.reporting import Reporting
from webhook.install_sync.reports.status import Findings, cluster_condition, not_a_workspace, ready_condition, synced_condition
from webhook.install_sync.reports.sync_progress import Progress
from webhook.install_sync.sync_request import SyncRequest, sync_request
from webhook.metrics import WebhookMetrics


class Clusters(ClustersToClear, Protocol):
    """The clusters that installs go to."""

    async def of(self, install: Install) -> TargetCluster:
        """Raises InvalidInput when the kubeconfig that `install` names cannot be used, StateError when it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """`again_at`: epoch second at which to look again anyway. `problem`: what failed and may pass, "" for nothing."""

    again_at: float | None = None
    problem: str = ""


class Reconciler:
    """`keys` gives the signing keys now, `clock` epoch seconds. `holds_deleted`: whether the state knows finalizers."""

    def __init__(
        self,
        store: StateStore,
        clusters: Clusters,
        provisioner: Provisioner,
        keys: Callable[[], SigningKeys],
        minting: Minting,
        telemetry: WebhookMetrics,
        events: Recorder,
        clock: Callable[[], float],
        *,
        holds_deleted: bool = False,
    ) -> None:
        self._store = store
        self._clusters = clusters
        self._provisioner = provisioner
        self._keys = keys
        self._minting = minting
        self._telemetry = telemetry
        self._reporting = Reporting(store, events, clock)
        self._removal = Removal(store, clusters, provisioner, events, clock, holds_deleted)
        self._clock = clock
        self._last: dict[Name, Secret | str] = {}  # a token, or who holds it
        self._answered: dict[Name, SyncRequest] = {}

    async def reconcile(self, workspace: str, name: str, *, anyway: bool = False) -> Outcome:
        """Brings everything of an install up to date. Raises StateError when its status cannot be written.

        `anyway`, or a request that is not answered yet: what looks right is written too.
        """
        install = self._store.index.get(Key(Kind.INSTALL, workspace, name))
        if not isinstance(install, Install) or install.deleting:
            self._last.pop((workspace, name), None)
            self._answered.pop((workspace, name), None)
            removed = self._removal.remove(install) if isinstance(install, Install) else self._removal.forget(workspace, name)
            return Outcome(problem=await removed)
        now = self._clock()
        request = sync_request(install, self._store.index.namespace(workspace))
        asked = request.is_open(install.status) and request != self._answered.get((workspace, name))
        answered = request if asked else None
        if problem := self._store.index.workspace_problem(workspace):
            return await self._withdraw(install, problem, answered)
        product = self._store.index.product(workspace, install.product) if install.product else None
        ready = ready_condition(install, product, datetime.fromtimestamp(now, UTC))
        try:
            cluster = await self._clusters.of(install)
            await cluster.refresh(asked or anyway)
        except AkuaError as error:
            await self._report(install, Findings((ready, cluster_condition(install, error)), answered=answered))
            return Outcome(problem="" if isinstance(error, InvalidInput) else str(error))
        if install.kubeconfig_secret:
            try:
                install = await self._removal.mark(install, install.kubeconfig_secret)
            except InvalidInput as error:
                await self._report(install, Findings((ready, cluster_condition(install, error)), answered=answered))
                return Outcome()
        token = self._token(install, cluster)
        placements = await self._provisioner.placements(cluster, install)
        progress = Progress(self._reporting, install, ready, len(placements))
        problem = ""
        for placement in placements:
            await asyncio.sleep(0)  # admission reviews wait for no large install that is right already
            try:
                progress.add(await self._provisioner.provide(cluster, install, product, placement, token, anyway=asked or anyway))
            except AkuaError as error:
                progress.add((TargetStatus(placement.namespace, False, str(error)), False))
                problem = str(error) if may_pass(error) else problem
            await progress.report()
        try:
            placed = {placement.namespace for placement in placements}
            keep = {space for space in placed if not self._provisioner.refusal(cluster, install, space)}
            await self._provisioner.remove(cluster, workspace, name, keep=keep)
            progress.install = await self._removal.leave(progress.install, cluster)
        except AkuaError as error:
            problem = str(error)
        reminders = self._provisioner.reminders(cluster, install, placements)
        synced = synced_condition(install, progress.targets, overlaps(cluster, install, placements), reminders)
        found = Findings((ready, synced), progress.targets, token, answered, progress.wrote)
        await self._report(progress.install, found)
        again = [token.renew_at, *([now + cluster.recheck_seconds] if cluster.recheck_seconds else [])]
        if install.expires_at is not None and install.expires_at.timestamp() > now:
            again.append(install.expires_at.timestamp())  # the Ready condition changes then
        return Outcome(min(again), problem)

    async def _withdraw(self, install: Install, problem: str, answered: SyncRequest | None) -> Outcome:
        """Removes everything of an install whose namespace is not a workspace, or no longer: it has no token and no grants."""
        self._last.pop((install.workspace, install.metadata.name), None)
        left = ""
        try:
            install = await self._removal.leave(install, None)
        except AkuaError as error:
            left = str(error)
        await self._report(install, Findings(not_a_workspace(install, problem), targets=(), answered=answered))
        return Outcome(problem=left)

    async def _report(self, install: Install, found: Findings) -> None:
        await self._reporting.report(install, found)
        if found.answered:
            # The index may show the answer later than the changes that this look made.
            self._answered[install.workspace, install.metadata.name] = found.answered

    def bundle(self, install: Install) -> list[Mapping[str, Any]]:
        """The very objects that provisioning applies, for `kubectl apply` in a cluster that nobody may reach into.

        Raises InvalidInput as `token` does.
        """
        product = self._store.index.product(install.workspace, install.product) if install.product else None
        token = self.token(install)
        objects: list[Mapping[str, Any]] = []
        for placement in place(install, self._clusters.local.namespaces_for(install)):
            made = self._provisioner.compiled(install, product, placement, token)
            objects += [manifest for manifest in (made.secret, made.grant) if manifest is not None]
        return objects

    def token(self, install: Install) -> InstallToken:
        """The install's token as its pull Secrets in this cluster have it, or a new one where there is none.

        Raises InvalidInput when the install's namespace is not a workspace, so that no token of it opens anything.
        """
        if problem := self._store.index.workspace_problem(install.workspace):
            raise InvalidInput(problem)
        return self._token(install, self._clusters.local)

    def lane(self, workspace: str, name: str) -> str:
        """The remote cluster that an install waits for, "" for the local one: a slow one must hold up only its own."""
        install = self._store.index.get(Key(Kind.INSTALL, workspace, name))
        secret = install.kubeconfig_secret if isinstance(install, Install) else None
        return f"{workspace}/{secret}" if secret else ""

    def _token(self, install: Install, cluster: TargetCluster) -> InstallToken:
        """What was minted last counts too: the index may not have caught up with the Secret that holds it."""
        name = (install.workspace, install.metadata.name)
        found: list[Secret | str] = [item for item in cluster.provisioned(*name) if isinstance(item, Secret)]
        if (last := self._last.get(name)) is not None:
            found.append(last)
        holders = {token_in(item, self._minting.host) if isinstance(item, Secret) else item: item for item in found}
        token = self._minting.token_for(install, self._keys(), holders, self._clock())
        if token.fresh:
            self._telemetry.tokens_minted.inc()
        # The Secret rather than another copy of what is in it.
        self._last[name] = holders.get(token.token, token.token)
        return token
