"""One install made so: Secret before grant in every target, what is no longer wanted removed, the status told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from registry_access.model.errors import AkuaError, NotFound
from registry_access.model.resources import Install, Key, Kind, Product, PullGrant, Secret, TargetStatus
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import SigningKeys
from webhook.install_sync.cluster import TargetCluster, owner_of
from webhook.install_sync.compilation import Placement, Provision, place, provision
from webhook.install_sync.minting import InstallToken, Minting, token_in
from webhook.install_sync.status import ready_condition, status_patch, synced_condition

logger = logging.getLogger(__name__)


class Reconciler:
    """`keys` gives the signing keys now, `clock` epoch seconds."""

    def __init__(
        self,
        store: StateStore,
        cluster: TargetCluster,
        keys: Callable[[], SigningKeys],
        minting: Minting,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._keys = keys
        self._minting = minting
        self._telemetry = telemetry
        self._clock = clock
        self._last: dict[Key, InstallToken] = {}

    async def reconcile(self, workspace: str, name: str) -> float | None:
        """Brings everything of an install up to date; returns the epoch second at which its token wants renewal.

        Raises StateError when the store cannot be written; what fails in one target only is in the status.
        """
        install = self._store.index.install(workspace, name)
        if install is None or install.deleting:
            self._last.pop(Key(Kind.INSTALL, workspace, name), None)
            await self._remove(workspace, name, keep=frozenset())
            return None
        product = self._store.index.product(workspace, install.product) if install.product else None
        token = self._token(install)
        placements = place(install, self._cluster.namespaces())
        targets = [await self._provide(install, product, placement, token) for placement in placements]
        await self._remove(workspace, name, keep={placement.namespace for placement in placements})
        await self._report(install, product, targets, placements, token)
        return token.renew_at

    def bundle(self, install: Install) -> list[Mapping[str, Any]]:
        """The very objects that provisioning applies, for `kubectl apply` in a cluster that nobody may reach into."""
        product = self._store.index.product(install.workspace, install.product) if install.product else None
        token = self._token(install)
        objects: list[Mapping[str, Any]] = []
        for placement in place(install, self._cluster.namespaces()):
            made = provision(install, product, placement, self._minting.host, token.token)
            objects += [made.secret, made.grant]
        return objects

    def token(self, install: Install) -> InstallToken:
        """The install's token as its pull Secrets have it, or a new one where there is none."""
        return self._token(install)

    def _token(self, install: Install) -> InstallToken:
        """What was minted last comes first: the index may not have caught up with the Secret that holds it."""
        present = [self._last[install.key].token] if install.key in self._last else []
        present += [
            token_in(found, self._minting.host)
            for found in self._cluster.provisioned(install.workspace, install.metadata.name)
            if isinstance(found, Secret)
        ]
        token = self._minting.token_for(install, self._keys(), present, self._clock())
        if token.fresh:
            self._telemetry.tokens_minted.inc()
        self._last[install.key] = token
        return token

    async def _provide(
        self, install: Install, product: Product | None, placement: Placement, token: InstallToken
    ) -> TargetStatus:
        made = provision(install, product, placement, self._minting.host, token.token)
        foreign = self._foreign(install, made)
        if foreign:
            return TargetStatus(placement.namespace, False, foreign)
        try:
            await self._apply_if_different(made.secret)
            if made.grant["spec"]["images"]:
                await self._apply_if_different(made.grant)
                return TargetStatus(placement.namespace, True)
        except AkuaError as error:
            return TargetStatus(placement.namespace, False, str(error))
        return TargetStatus(placement.namespace, False, "the install is entitled to nothing")

    async def _apply_if_different(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        present = self._cluster.get(Key(Kind(manifest["kind"]), metadata["namespace"], metadata["name"]))
        if present is None or not _says(present.to_manifest(), manifest):
            await self._cluster.apply(manifest)

    def _foreign(self, install: Install, made: Provision) -> str:
        """What is in the way: an object of that name that is not this install's."""
        for manifest in (made.secret, made.grant):
            kind, name = Kind(manifest["kind"]), manifest["metadata"]["name"]
            present = self._cluster.get(Key(kind, made.namespace, name))
            if present is not None and owner_of(present) != (install.workspace, install.metadata.name):
                return f"{kind} {name} is there already and is not this install's; rename the install or remove it"
        return ""

    async def _remove(self, workspace: str, name: str, keep: set[str] | frozenset[str]) -> None:
        """Removes what was provisioned elsewhere; the grant first, so that no pod is rewritten without its Secret."""
        found = [item for item in self._cluster.provisioned(workspace, name) if item.metadata.namespace not in keep]
        for item in sorted(found, key=lambda item: not isinstance(item, PullGrant)):
            try:
                await self._cluster.delete(item.key, item.metadata.uid)
            except NotFound:
                continue
            logger.info("removed %s: install %s/%s no longer has it", item.key, workspace, name)

    async def _report(
        self,
        install: Install,
        product: Product | None,
        targets: Sequence[TargetStatus],
        placements: Sequence[Placement],
        token: InstallToken,
    ) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        conditions = (
            ready_condition(install, product, now),
            synced_condition(install, targets, self._overlaps(install, placements)),
        )
        patch = status_patch(install, conditions, targets, token, now)
        if patch is None:
            return
        try:
            await self._store.patch_status(install.key, patch)
        except NotFound:
            return

    def _overlaps(self, install: Install, placements: Sequence[Placement]) -> list[str]:
        """Other installs whose grants may select the same pods: both tokens are then attached, the first that opens wins."""
        found = []
        for placement in placements:
            for other in self._store.index.grants(placement.namespace):
                owner = owner_of(other)
                if (
                    owner
                    and owner != (install.workspace, install.metadata.name)
                    and other.pod_selector.may_overlap(placement.pod_selector)
                ):
                    found.append(f"{placement.namespace}: install {owner[1]} may select the same pods; give both a podSelector")
        return found


def _says(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether `present` has every member that `wanted` names, with the same values."""
    for name, value in wanted.items():
        if name in ("metadata", "labels", "annotations"):
            if not _says(present.get(name, {}), value):
                return False
        elif present.get(name, {} if value == {} else None) != value and not _same_spec(present.get(name), value):
            return False
    return True


def _same_spec(present: object, wanted: object) -> bool:
    """Equal but for empty members, which manifests leave out."""
    if isinstance(present, Mapping) and isinstance(wanted, Mapping):
        return {k: v for k, v in present.items() if v not in ({}, [])} == {k: v for k, v in wanted.items() if v not in ({}, [])}
    return False
