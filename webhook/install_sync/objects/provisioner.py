"""One install in one cluster: its objects written where they are wanted, and removed where they are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from registry_access.model.errors import AkuaError, Conflict, InvalidManifest, NotFound, StateUnavailable
from registry_access.model.resources import Install, Key, Kind, Product, PullGrant, Resource, Secret, TargetStatus
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.objects.admittance import Admittance
from webhook.install_sync.objects.compilation import Placement, Provision, add_placements, chosen, provision
from webhook.install_sync.objects.minting import DOCKER_CONFIG_TYPE, InstallToken
from webhook.install_sync.objects.ownership import belongs_to, made_by, owner_of

logger = logging.getLogger(__name__)
_CHOSEN_AT_ONCE = 250  # namespaces that a selector is tried on in one turn of the loop
_NAME_MAXIMUM = 63  # of a label's value


class Provisioner:
    """`control_plane` is the id that everything written here carries, `host` the proxy's. `admittance` is of the cluster that
    holds the installs: what may be written in another is for its kubeconfig's rights, and its namespaces' annotations, to say.
    """

    def __init__(self, host: str, control_plane: str, admittance: Admittance | None = None) -> None:
        self.host = host
        self.control_plane = control_plane
        self._admittance = admittance or Admittance()

    async def placements(self, cluster: TargetCluster, install: Install) -> Sequence[Placement]:
        """Where `install` belongs in `cluster`, including named namespaces that do not take it, so that its status reports them.

        Selectors are a tenant's and may be a megabyte, so the event loop gets a turn in between.
        """
        admittance, placed = self._admittance_of(cluster), dict[str, Placement]()
        namespaces = tuple(cluster.namespaces_for(install))
        for target in install.targets:
            found: list[str] = []
            for start in range(0, max(len(namespaces), 1), _CHOSEN_AT_ONCE):
                some = namespaces[start : start + _CHOSEN_AT_ONCE]
                found += chosen(target, some, lambda namespace: admittance.takes(namespace, install.workspace))
                if target.namespace is not None:
                    break
                await asyncio.sleep(0)
            add_placements(placed, target, found)
        return tuple(placed.values())

    def refusal(self, cluster: TargetCluster, install: Install, namespace: str) -> str:
        """Why nothing of `install` may be in a namespace; "" when it may."""
        return self._admittance_of(cluster).refusal(namespace, cluster.namespace(namespace), install.workspace)

    def reminders(self, cluster: TargetCluster, install: Install, placements: Sequence[Placement]) -> list[str]:
        """What a change of AKUA_TARGET_NAMESPACES would withdraw, a sentence for each namespace."""
        admittance = self._admittance_of(cluster)
        found = (admittance.reminder(cluster.namespace(each.namespace), install.workspace) for each in placements)
        return [each for each in found if each]

    def _admittance_of(self, cluster: TargetCluster) -> Admittance:
        return Admittance() if cluster.name else self._admittance

    def compiled(self, install: Install, product: Product | None, placement: Placement, token: InstallToken) -> Provision:
        return provision(install, product, placement, self.host, token.token, self.control_plane)

    async def provide(
        self,
        cluster: TargetCluster,
        install: Install,
        product: Product | None,
        placement: Placement,
        token: InstallToken,
        *,
        anyway: bool = False,
    ) -> tuple[TargetStatus, bool]:
        """Writes Secret, then grant, in one namespace; the second value says whether anything was written. `anyway`: also writes
        objects that look correct.

        A lasting problem (such as a name that is taken) is in the status. Raises StateUnavailable or Conflict when a retry may
        help.
        """
        problem = _hopeless(cluster, install, placement) or self.refusal(cluster, install, placement.namespace)
        if problem:
            return TargetStatus(placement.namespace, False, problem), False
        made = self.compiled(install, product, placement, token)
        wrote = False
        try:
            for manifest in (made.secret, made.grant):
                if manifest is None:
                    problem = "the install is entitled to nothing; name a product that exists, or list repositories"
                    continue
                present = await self._present(cluster, manifest)
                problem = _taken(present, install, self.control_plane)
                if problem:
                    break
                if present is None or anyway or not says(present.to_manifest(), manifest):
                    await self._write(cluster, present, manifest)
                    wrote = True
        except NotFound:
            problem = f"namespace {placement.namespace} does not exist; once it does, the install is synced into it"
        except InvalidManifest as error:
            problem = str(error)
        return TargetStatus(placement.namespace, not problem, problem), wrote

    async def remove(self, cluster: TargetCluster, workspace: str, name: str, keep: Collection[str] = ()) -> None:
        """Removes what this control plane wrote for an install outside of the namespaces `keep`. Raises StateError.

        The grant goes first, so that no pod is rewritten without its Secret.
        """
        found = [
            item
            for item in cluster.provisioned(workspace, name)
            if item.metadata.namespace not in keep and made_by(item, self.control_plane) and not item.deleting
        ]
        for item in sorted(found, key=lambda item: not isinstance(item, PullGrant)):
            try:
                await cluster.delete(item.key, item.metadata.uid)
            except NotFound:
                continue
            logger.info("removed %s: install %s/%s no longer has it", item.key, workspace, name)

    async def _present(self, cluster: TargetCluster, manifest: Mapping[str, Any]) -> Resource | None:
        metadata = manifest["metadata"]
        return await cluster.find(Key(Kind(manifest["kind"]), metadata["namespace"], metadata["name"]))

    async def _write(self, cluster: TargetCluster, present: Resource | None, manifest: Mapping[str, Any]) -> None:
        if isinstance(present, Secret) and (present.immutable or present.type != DOCKER_CONFIG_TYPE):
            # Neither can be changed in place: somebody else made it so.
            await cluster.delete(present.key, present.metadata.uid)
        await cluster.apply(manifest)


def _taken(present: Resource | None, install: Install, control_plane: str) -> str:
    """What is in the way, "" for nothing."""
    if present is None or belongs_to(present, install, control_plane):
        return ""
    return f"{present.kind} {present.metadata.name} is there already and is not this install's; rename the install or remove it"


def overlaps(cluster: TargetCluster, install: Install, placements: Sequence[Placement]) -> list[str]:
    """Other installs whose grants may select the same pods: both Secrets are then attached, and kubelet tries one by one."""
    own = (install.workspace, install.metadata.name)
    return [
        f"{placement.namespace}: install {owner[1]} may select the same pods; give both a podSelector"
        for placement in placements
        for other in cluster.grants(placement.namespace)
        if (owner := owner_of(other)) and owner != own and other.pod_selector.may_overlap(placement.pod_selector)
    ]


def may_pass(error: AkuaError) -> bool:
    """Whether trying again soon may help."""
    return isinstance(error, StateUnavailable | Conflict)


def says(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether `present` has every member that `wanted` names, with the same values; metadata may say more."""
    for name, value in wanted.items():
        found = present.get(name, {})
        if name in ("metadata", "labels", "annotations"):
            if not says(found, value):
                return False
        elif _full(found) != _full(value):
            return False
    return True


def _full(value: object) -> object:
    """Without the empty members that manifests leave out."""
    if isinstance(value, Mapping):
        members = {name: _full(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in ({}, [])}
    return value


def _hopeless(cluster: TargetCluster, install: Install, placement: Placement) -> str:
    if len(install.metadata.name) > _NAME_MAXIMUM:
        return f"an install with targets has a name of at most {_NAME_MAXIMUM} characters, because it becomes a label"
    namespace = cluster.namespace(placement.namespace)
    return "the namespace is being deleted" if namespace is not None and namespace.deleting else ""
