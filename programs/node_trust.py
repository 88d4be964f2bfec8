"""Node trust as a program. It runs on every node of a cluster, so it loads few modules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from node_trust.hosts_folder import HostsFolder
from node_trust.keeper import TrustKeeper
from node_trust.metrics import NodeTrustMetrics
from registry_access.runtime.health import Health
from registry_access.runtime.logs.json_logging import configure_logging
from registry_access.runtime.logs.redaction import Redactor
from registry_access.runtime.metrics import ProcessMetrics
from registry_access.runtime.operations import create_operations_app
from registry_access.runtime.serving import OPERATIONS, Listener, Servers
from registry_access.settings import Settings
from registry_access.state.cluster_access import cluster_access

logger = logging.getLogger(__name__)


class NodeTelemetry(NodeTrustMetrics, ProcessMetrics):
    """Every metric of the program on a node."""


def hosts_folder(settings: Settings) -> HostsFolder:
    """The folder that is kept up to date on this node."""
    return HostsFolder(Path(settings.containerd_config_path), settings.host)


def keep_trust(settings: Settings) -> None:
    """Checks and writes until SIGTERM. Raises InvalidSettings or StateUnavailable before it starts."""
    telemetry = NodeTelemetry()
    handler = configure_logging(settings.log_level, Redactor(), telemetry.log_drops.inc)
    try:
        asyncio.run(_keep(settings, telemetry))
    finally:
        handler.close()


async def look_once(settings: Settings) -> bool:
    """Updates the node once and returns whether something was written. Raises AkuaError."""
    async with _keeper(settings, NodeTelemetry()) as keeper:
        return await keeper.look()


def stay_ready(settings: Settings) -> None:
    """Does nothing but report ready until SIGTERM."""
    asyncio.run(_operations(settings, Health(), NodeTelemetry()).run())


async def _keep(settings: Settings, telemetry: NodeTelemetry) -> None:
    health = Health()
    servers = _operations(settings, health, telemetry)
    async with _keeper(settings, telemetry) as keeper:
        health.add("node trust", keeper.failure)
        keeping = asyncio.create_task(keeper.run(), name="node trust")
        try:
            folder = {"folder": str(hosts_folder(settings).path)}
            await servers.run(lambda: logger.info("keeping this node's trust up to date", extra=folder))
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


@asynccontextmanager
async def _keeper(settings: Settings, telemetry: NodeTelemetry) -> AsyncIterator[TrustKeeper]:
    # Imported here because neither settings errors nor --remove need it.
    from node_trust.source import read_trust
    from registry_access.state.kubernetes.client.api import KubernetesApi
    from registry_access.state.kubernetes.client.raw_objects import RawObjects

    api = KubernetesApi(await cluster_access())
    try:
        yield TrustKeeper(partial(read_trust, RawObjects(api)), hosts_folder(settings), telemetry)
    finally:
        await api.close()


def _operations(settings: Settings, health: Health, telemetry: NodeTelemetry) -> Servers:
    app = create_operations_app(health, telemetry)
    return Servers([Listener(OPERATIONS, app, settings.operations_address)], telemetry=telemetry, health=health, drain=1.0)
