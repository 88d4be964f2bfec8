"""The install sync, put together: for `akua serve` and `akua webhook`, and for commands that want a token or a bundle."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.metadata import MANAGER, SYSTEM_NAMESPACE
from registry_access.runtime.settings import Settings
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, KeyRing, ensure_keys, publish
from webhook.install_sync.cluster import LocalCluster
from webhook.install_sync.controller import InstallSync
from webhook.install_sync.minting import Minting
from webhook.install_sync.reconciliation import Reconciler

_SHOWN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class InstallSyncParts:
    reconciler: Reconciler
    controller: InstallSync


async def build_install_sync(settings: Settings, store: StateStore, telemetry: Telemetry) -> InstallSyncParts:
    """Makes the signing key if there is none, and publishes its public half. Raises StateError."""
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, keys, MANAGER)
    await until_shown(store, Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS))
    ring = KeyRing(store.index, INSTALL_TOKEN_KEYS, time.time)
    minting = Minting(settings.host, settings.install_token_lifetime)
    reconciler = Reconciler(store, LocalCluster(store), ring.keys, minting, telemetry, time.time)
    return InstallSyncParts(reconciler, InstallSync(store, reconciler, telemetry))


async def until_shown(store: StateStore, key: Key) -> None:
    """Waits until the watch has brought an object that was just written. Raises StateUnavailable."""
    deadline = time.monotonic() + _SHOWN_SECONDS
    while store.index.get(key) is None:
        if time.monotonic() > deadline:
            raise StateUnavailable(f"{key} was written and did not come back through the watch within {_SHOWN_SECONDS:g} s")
        await asyncio.sleep(0.02)
