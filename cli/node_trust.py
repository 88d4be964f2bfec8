"""`akua node-trust`: this node's containerd finds the proxy and believes its certificate."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.presentation import remark
from cli.session import invocation
from cli.wiring import cluster_access
from node_trust.hosts_folder import HostsFolder
from node_trust.keeper import TrustKeeper
from registry_access.runtime.health import Health
from registry_access.runtime.json_logging import configure_logging
from registry_access.runtime.operations import create_operations_app
from registry_access.runtime.redaction import Redactor
from registry_access.runtime.serving import OPERATIONS, Listener, Servers
from registry_access.runtime.settings import Settings
from registry_access.runtime.telemetry import Telemetry

logger = logging.getLogger(__name__)


def node_trust(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Look and write once, then end.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take away what it wrote on this node, then end.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="With --remove: do not end, be ready. For the DaemonSet.")] = False,
    config_path: Annotated[
        str, typer.Option(help="containerd's folder of registry hosts, its config_path.", show_default=False)
    ] = "",
    host: Annotated[str, typer.Option(help="The name that images carry for the proxy.", show_default=False)] = "",
    operations_address: Annotated[str, typer.Option(help="address:port for health and metrics.", show_default=False)] = "",
) -> None:
    """Tell this node's containerd where the proxy is and which CA to believe there. Runs on every node, as a DaemonSet.

    Reads the Service akua-proxy and the ConfigMap akua-ca every 15 s and keeps HOST/hosts.toml and HOST/ca.crt below
    /etc/containerd/certs.d as they say. What was written stays when it ends.

    Example: akua node-trust --once --host registry.example.com
    """
    settings = invocation(context).settings(containerd_config_path=config_path, host=host, operations_address=operations_address)
    folder = HostsFolder(Path(settings.containerd_config_path), settings.host)
    if remove:
        remark(f"akua: {folder.path} {'is removed' if folder.remove() else 'has nothing of ours'}")
        if stay:
            asyncio.run(_operations(settings, Health(), Telemetry()).run())
    elif once:
        changed = asyncio.run(_once(settings, folder))
        remark(f"akua: {folder.path} {'is written' if changed else 'is as it should be'}")
    else:
        telemetry = Telemetry()
        handler = configure_logging(settings.log_level, Redactor(), telemetry.log_drops.inc)
        try:
            asyncio.run(_serve(settings, folder, telemetry))
        finally:
            handler.close()


async def _once(settings: Settings, folder: HostsFolder) -> bool:
    # Half of what a command needs to start, and only wanted here.
    from node_trust.source import read_trust
    from registry_access.state.kubernetes.api import KubernetesApi
    from registry_access.state.kubernetes.raw_objects import RawObjects

    api = KubernetesApi(await cluster_access())
    try:
        return await TrustKeeper(partial(read_trust, RawObjects(api)), folder, Telemetry()).look()
    finally:
        await api.close()


async def _serve(settings: Settings, folder: HostsFolder, telemetry: Telemetry) -> None:
    from node_trust.source import read_trust
    from registry_access.state.kubernetes.api import KubernetesApi
    from registry_access.state.kubernetes.raw_objects import RawObjects

    health = Health()
    servers = _operations(settings, health, telemetry)
    api = KubernetesApi(await cluster_access())
    keeper = TrustKeeper(partial(read_trust, RawObjects(api)), folder, telemetry)
    health.add("node trust", keeper.failure)
    keeping = asyncio.create_task(keeper.run(), name="node trust")
    try:
        await servers.run(lambda: logger.info("keeping this node's trust", extra={"folder": str(folder.path)}))
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await api.close()


def _operations(settings: Settings, health: Health, telemetry: Telemetry) -> Servers:
    app = create_operations_app(health, telemetry)
    return Servers([Listener(OPERATIONS, app, settings.operations_address)], telemetry=telemetry, health=health, drain=1.0)
