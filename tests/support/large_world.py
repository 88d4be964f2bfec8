"""A large cluster's objects in a real API server, as people and the install sync would have written them: a sync that starts on
them finds nothing to write.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from registry_access.model.resources import Install, Product, TargetStatus
from registry_access.model.resources.metadata import (
    API_VERSION,
    CURRENT_VERSION_ANNOTATION,
    INSTALL_SYNC_MANAGER,
    SECRET_LABEL,
    SYSTEM_NAMESPACE,
    TAKES_ANNOTATION,
    VERSION_LABEL,
    WORKSPACE_LABEL,
)
from registry_access.state.interface import StateStore
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.store import KubernetesStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, SigningKeys, ensure_keys, publish
from webhook.install_sync.objects.compilation import place, provision
from webhook.install_sync.objects.minting import InstallToken, Minting
from webhook.install_sync.reports.status import Findings, ready_condition, status_patch, synced_condition

Manifest = dict[str, Any]
_AT_ONCE = 32
_PRODUCTS = 10  # of each workspace
_TOKEN_SECONDS = 30 * 86400.0  # the setting's default


@dataclass(frozen=True, slots=True)
class WorldSize:
    """Each install has `grants / installs` target namespaces; all namespaces that are no workspaces are somebody's target."""

    namespaces: int = 2_000
    workspaces: int = 20
    installs: int = 5_000
    grants: int = 20_000

    def __str__(self) -> str:
        return f"{self.installs:,} installs, {self.grants:,} grants, {self.namespaces:,} namespaces"


@dataclass(slots=True)
class LargeWorld:
    """`registry` is the upstream of every product. `tokens`: the installs' by their number, once seeded."""

    size: WorldSize
    registry: str = "ghcr.io"
    host: str = "oci.akua.dev"
    tokens: dict[int, str] = field(default_factory=dict, repr=False)

    def workspace(self, number: int) -> str:
        """That of the install of this number."""
        return f"workspace-{number % self.size.workspaces:03}"

    def install(self, number: int) -> str:
        """The name of an install."""
        return f"customer-{number:05}"

    def targets(self, number: int) -> list[str]:
        """The target namespaces of an install."""
        each, teams = self.size.grants // self.size.installs, self.size.namespaces - self.size.workspaces
        return [f"team-{(number * each + position) % teams:05}" for position in range(each)]

    def repository(self, number: int) -> str:
        """One that the install may pull, without its registry."""
        return f"{self.workspace(number)}/{_product(number)}/app"

    def pod_labels(self, number: int) -> dict[str, str]:
        """Those that select a pod of the install."""
        return {"app.kubernetes.io/instance": self.install(number)}

    async def seed(self, access: ClusterAccess) -> None:
        """Writes everything, with 32 connections. Raises StateError."""
        store = KubernetesStore(access, kinds=())
        try:
            system = await store.apply(_namespace(SYSTEM_NAMESPACE), manager=INSTALL_SYNC_MANAGER)
            keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
            await publish(store, keys, INSTALL_SYNC_MANAGER)
            await _all(store.create(manifest) for manifest in self._namespaces())
            for number in range(self.size.workspaces):
                await _all(store.create(manifest) for manifest in self._workspace_objects(self.workspace(number)))
            await _all(self._seed_install(store, keys, system.metadata.uid, number) for number in range(self.size.installs))
        finally:
            await store.stop()

    def _namespaces(self) -> Iterator[Manifest]:
        for number in range(self.size.workspaces):
            yield _namespace(self.workspace(number), {WORKSPACE_LABEL: "true"})
        for number in range(self.size.namespaces - self.size.workspaces):
            labels = {"team": f"t{number % 100}", "environment": "production"}
            yield _namespace(f"team-{number:05}", labels, {TAKES_ANNOTATION: "*"})

    def _workspace_objects(self, workspace: str) -> Iterator[Manifest]:
        for number in range(_PRODUCTS):
            yield self._product(workspace, _product(number))
        insecure = {"insecure": True, "allowPrivateAddresses": True}
        for name, spec, values in (
            ("upstream", {"registry": self.registry, "type": "Basic", **insecure}, {"username": "u", "password": "p" * 40}),
            ("github", {"registry": "ghcr.example", "type": "Token"}, {"token": "t" * 40}),
        ):
            yield _resource("RegistryCredential", workspace, name, spec | {"secretName": name})
            yield _secret(workspace, name, {"annotations": {CURRENT_VERSION_ANNOTATION: "3"}}, {})
            for version in ("1", "2", "3"):
                labels = {SECRET_LABEL: name, VERSION_LABEL: version}
                yield _secret(workspace, f"{name}-v{version}", {"labels": labels}, values) | {"immutable": True}

    def _product(self, workspace: str, name: str) -> Manifest:
        repositories = [f"{self.registry}/{workspace}/{name}/*", f"{self.registry}/shared/{name}"]
        return _resource("Product", workspace, name, {"repositories": repositories})

    async def _seed_install(self, store: StateStore, keys: SigningKeys, control_plane: str, number: int) -> None:
        now = datetime.now(UTC)
        labels = self.pod_labels(number)
        targets = [{"namespace": namespace, "podSelector": {"matchLabels": labels}} for namespace in self.targets(number)]
        spec = {"product": _product(number), "targets": targets}
        install = await store.create(_resource("Install", self.workspace(number), self.install(number), spec))
        assert isinstance(install, Install)
        product = Product.from_manifest(self._product(self.workspace(number), _product(number)))
        token = Minting(self.host, _TOKEN_SECONDS).mint(install, keys, time.time())
        self.tokens[number] = token.token
        placements = place(install, ())
        for placement in placements:
            made = provision(install, product, placement, self.host, token.token, control_plane)
            for manifest in (made.secret, made.grant):
                assert manifest is not None
                await store.create(manifest)
        status = _status(install, product, token, [placement.namespace for placement in placements], now)
        await store.patch_status(install.key, status)


def _status(install: Install, product: Product, token: InstallToken, namespaces: list[str], now: datetime) -> Manifest:
    targets = [TargetStatus(namespace, True) for namespace in namespaces]
    conditions = (ready_condition(install, product, now), synced_condition(install, targets, ()))
    return status_patch(install, Findings(conditions, targets, token, wrote=True), now) or {}


def _product(number: int) -> str:
    return f"product-{number % _PRODUCTS}"


def _namespace(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Manifest:
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _resource(kind: str, workspace: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": workspace}, "spec": spec}


def _secret(workspace: str, name: str, metadata: Manifest, values: dict[str, str]) -> Manifest:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": workspace, **metadata}, "data": data}


async def _all(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Each of `work` once, 32 at a time, none of them made before its turn."""
    waiting = iter(work)

    async def worker() -> None:
        for each in waiting:
            await each

    async with asyncio.TaskGroup() as workers:
        for _ in range(_AT_ONCE):
            workers.create_task(worker())
