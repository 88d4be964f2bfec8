"""The install sync, put together: for `akua serve` and `akua webhook`, and for commands that want a token or a bundle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.metadata import INSTALL_SYNC_MANAGER, SYSTEM_NAMESPACE
from registry_access.settings import Settings
from registry_access.state.event_recorder import EventRecorder, Recorder
from registry_access.state.events import event_recorder
from registry_access.state.interface import StateStore
from registry_access.state.key_care import KeyCare
from registry_access.state.kubernetes.kubeconfig.foreign import foreign_access
from registry_access.state.kubernetes.polled_store import PolledStore
from registry_access.state.leadership import Leadership, Work
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, KeyRing, ensure_keys, publish
from webhook.install_sync.clusters.remote_clusters import Connect, KnownClusters, RemoteStore
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.controller import InstallSync
from webhook.install_sync.objects.admittance import Admittance
from webhook.install_sync.objects.minting import Minting
from webhook.install_sync.objects.provisioner import Provisioner
from webhook.install_sync.queue.affected_installs import AffectedInstalls
from webhook.install_sync.queue.references import InstallReferences
from webhook.install_sync.reconciliation import Reconciler
from webhook.leader_chores import leader_chores, steadily
from webhook.metrics import WebhookMetrics

_SHOWN_SECONDS = 10.0
LEASE = "akua-install-sync"


@dataclass(frozen=True, slots=True)
class InstallSyncParts:
    """`run` is the whole sync as one task, under leadership; `close` it at the end."""

    reconciler: Reconciler
    controller: InstallSync
    clusters: KnownClusters
    key_care: KeyCare
    leadership: Leadership
    events: EventRecorder
    chores: Mapping[str, Work]
    telemetry: WebhookMetrics

    async def run(self) -> None:
        """Until cancelled: of all processes that share the state, one at a time syncs."""
        self.events.start()
        try:
            await self.leadership.lead(self._work)
        finally:
            await self.events.stop()

    async def close(self) -> None:
        await self.clusters.close()

    async def _work(self) -> None:
        self.telemetry.install_sync_leading.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(steadily("key care", self.key_care.run), name="key care")
                tasks.create_task(self.controller.run(), name="install sync")
                for name, work in self.chores.items():
                    tasks.create_task(steadily(name, work), name=name)
        finally:
            self.telemetry.install_sync_leading.set(0)


def connect_remote(config: bytes) -> RemoteStore:
    """The cluster of a kubeconfig. Raises InvalidInput when the kubeconfig cannot be used."""
    return PolledStore(foreign_access(config))


async def build_install_sync(
    settings: Settings,
    store: StateStore,
    telemetry: WebhookMetrics,
    *,
    connect: Connect = connect_remote,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.time,
) -> InstallSyncParts:
    """Makes the signing key if there is none, and publishes its public half. Raises StateError.

    `connect` reaches remote clusters, `recorder` takes what happens to installs (default: Kubernetes Events, or their like of the
    store), `clock` gives epoch seconds.
    """
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, keys, INSTALL_SYNC_MANAGER)
    await until_shown(store, Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS))
    ring = KeyRing(store.index, INSTALL_TOKEN_KEYS, clock)
    local = TargetCluster(store)
    references = InstallReferences(store.index)
    clusters = KnownClusters(store, local, connect)
    unannotated = settings.takes_unannotated
    admittance = Admittance(unannotated, temporary=unannotated and settings.in_cluster)
    provisioner = Provisioner(settings.host, store.control_plane_id(), admittance)
    minting = Minting(settings.host, settings.install_token_lifetime)
    events = event_recorder(settings, store, telemetry, "akua-webhook")
    reconciler = Reconciler(
        store,
        clusters,
        provisioner,
        ring.keys,
        minting,
        telemetry,
        recorder or events,
        clock,
        holds_deleted=store.holds_deleted,
    )
    return InstallSyncParts(
        reconciler,
        InstallSync(store, reconciler, AffectedInstalls(store.index, local, references), telemetry),
        clusters,
        KeyCare(store, INSTALL_TOKEN_KEYS, settings.install_token_lifetime, clock, publish_as=INSTALL_SYNC_MANAGER),
        store.leadership(LEASE),
        events,
        leader_chores(settings, store),
        telemetry,
    )


async def until_shown(store: StateStore, key: Key) -> None:
    """Waits until the watch has brought an object that was just written. Raises StateUnavailable."""
    deadline = time.monotonic() + _SHOWN_SECONDS
    while store.index.get(key) is None:
        if time.monotonic() > deadline:
            raise StateUnavailable(f"{key} was written but did not appear in the watch within {_SHOWN_SECONDS:g} s")
        await asyncio.sleep(0.02)
