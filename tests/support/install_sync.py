"""An install sync running on real folders: one that holds the installs, others that stand for remote clusters."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs.telemetry import Telemetry
from registry_access.model.errors import InvalidInput, StateUnavailable
from registry_access.model.install_token import InstallTokenClaims, verify_install_token
from registry_access.model.occurrence import Occurrence
from registry_access.model.resources import Install, Key, Kind, PullGrant, Resource, Secret
from registry_access.settings import Settings
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import Manifest, StateStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, SigningKeys, ensure_keys
from tests.support.builders import manifest as manifest
from tests.support.builders import whole
from webhook.assembly import build_install_sync
from webhook.install_sync.clusters.remote_clusters import KnownClusters
from webhook.install_sync.controller import InstallSync
from webhook.install_sync.objects.minting import token_in
from webhook.install_sync.reconciliation import Reconciler

API = "registry.akua.dev/v1alpha1"
HOST = "oci.akua.dev"
SHOP = Key(Kind.INSTALL, "acme", "shop")


class RemoteFolder:
    """A folder that stands for a remote cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = DirectoryStore(folder, heartbeat_seconds=0.2)
        self.down = self.closed = False
        self.refreshes = 0

    @property
    def index(self) -> ResourceIndex:
        return self.store.index

    async def refresh(self, at_once: bool = False) -> None:
        self.refreshes += 1
        if self.down:
            raise StateUnavailable("no route to host")

    async def read(self, key: Key) -> Resource:
        return await self.store.read(key)

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        return await self.store.apply(manifest, manager=manager)

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        await self.store.delete(key, uid=uid)

    async def close(self) -> None:
        self.closed = True


class Remotes:
    """The remote clusters of a test, by the text of their kubeconfig."""

    def __init__(self) -> None:
        self.by_config: dict[bytes, RemoteFolder] = {}
        self.connected: list[tuple[bytes, bool]] = []  # and whether in the thread of the loop

    def connect(self, config: bytes) -> RemoteFolder:
        self.connected.append((config, threading.current_thread() is threading.main_thread()))
        if config not in self.by_config:
            raise InvalidInput("'exec' is refused", field="user", remedy="it would run a command here")
        return self.by_config[config]


class Told:
    """What people were told."""

    def __init__(self) -> None:
        self.occurrences: list[Occurrence] = []

    def record(self, occurrence: Occurrence) -> None:
        self.occurrences.append(occurrence)

    def notes(self, reason: str) -> list[str]:
        return [item.note for item in self.occurrences if item.reason == reason]


@dataclass
class Synced:
    store: StateStore
    sync: InstallSync
    reconciler: Reconciler
    clusters: KnownClusters
    keys: SigningKeys
    remotes: Remotes
    told: Told
    offset: float = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def secret(self, namespace: str = "prod", install: str = "shop") -> Secret | None:
        return self.store.index.secret(namespace, f"akua-pull-{install}")

    def grant(self, namespace: str = "prod", install: str = "shop") -> PullGrant | None:
        return next((grant for grant in self.store.index.grants(namespace) if grant.metadata.name == install), None)

    def claims(self) -> InstallTokenClaims:
        secret = self.secret()
        assert secret is not None
        return verify_install_token(token_in(secret, HOST), self.keys.verification(), audience=HOST, now=self.now())

    def install(self, name: str = "shop") -> Install:
        install = self.store.index.install("acme", name)
        assert install is not None
        return install

    def condition(self, kind: str, name: str = "shop") -> tuple[str, str]:
        return next(((c.status, c.reason) for c in self.install(name).status.conditions if c.type == kind), ("", ""))


def shop(**spec: Any) -> dict[str, Any]:
    return manifest("Install", "shop", whole("Install", **{"targets": [{"namespace": "prod"}], **spec}))


def space(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@contextlib.asynccontextmanager
async def running_sync(store: StateStore) -> AsyncIterator[Synced]:
    """`store` has been started."""
    telemetry, told, remotes = Telemetry(), Told(), Remotes()
    world: Synced | None = None

    def clock() -> float:
        return world.now() if world else time.time()

    settings = Settings(host=HOST, install_token_lifetime=3000.0)
    parts = await build_install_sync(settings, store, telemetry, connect=remotes.connect, recorder=told, clock=clock)
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    world = Synced(store, parts.controller, parts.reconciler, parts.clusters, keys, remotes, told)
    task = asyncio.create_task(world.sync.run())
    yield world
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await parts.close()
