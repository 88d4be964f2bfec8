"""`akua serve`, `akua proxy` and `akua webhook` as commands with options. Without options, cli/entry.py runs them directly."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli.session import invocation
from programs.node_trust import hosts_folder, keep_trust, look_once, stay_ready
from programs.runner import run_program
from registry_access.runtime.logs.remark import remark

AddressOption = Annotated[str, typer.Option(help="address:port to listen on; port 0 picks a free port.", show_default=False)]
HostOption = Annotated[str, typer.Option(help="The proxy's host name in image references.", show_default=False)]


def serve(
    context: typer.Context,
    proxy_address: AddressOption = "",
    webhook_address: AddressOption = "",
    operations_address: AddressOption = "",
    host: HostOption = "",
) -> None:
    """Run everything in one process: proxy, admission webhook, install sync, health and metrics.

    State, audit trail and certificates live in the folder .akua unless settings say otherwise; the webhook creates its own
    certificate. On SIGTERM the process becomes not ready, drains its streams and flushes the audit trail.

    Example: akua serve --host registry.example.com
    """
    addresses = {"proxy_address": proxy_address, "webhook_address": webhook_address, "operations_address": operations_address}
    run_program("serve", invocation(context), host=host, **addresses)


def proxy(
    context: typer.Context, proxy_address: AddressOption = "", operations_address: AddressOption = "", host: HostOption = ""
) -> None:
    """Run the proxy alone: token endpoint, pulls, audit trail. It never holds the key that signs install tokens."""
    addresses = {"proxy_address": proxy_address, "operations_address": operations_address}
    run_program("proxy", invocation(context), host=host, **addresses)


def webhook(
    context: typer.Context, webhook_address: AddressOption = "", operations_address: AddressOption = "", host: HostOption = ""
) -> None:
    """Run the admission webhook and the install sync alone. They never hold an upstream credential."""
    addresses = {"webhook_address": webhook_address, "operations_address": operations_address}
    run_program("webhook", invocation(context), host=host, **addresses)


def node_trust(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Update the folder once, then exit.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what node-trust wrote on this node, then exit.")] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="With --remove, keep running and report ready; for the DaemonSet.")
    ] = False,
    config_path: Annotated[
        str, typer.Option(help="containerd's config_path, its folder of registry hosts.", show_default=False)
    ] = "",
    host: Annotated[str, typer.Option(help="The proxy's host name in image references.", show_default=False)] = "",
    operations_address: Annotated[str, typer.Option(help="address:port for health and metrics.", show_default=False)] = "",
) -> None:
    """Configure where this node's containerd finds the proxy and which CA it trusts there. Runs on every node, as a DaemonSet.

    Reads the Service akua-proxy and the ConfigMap akua-ca every 15 s and keeps HOST/hosts.toml and HOST/ca.crt below
    /etc/containerd/certs.d up to date. The files stay when it exits.

    Example: akua node-trust --once --host registry.example.com
    """
    settings = invocation(context).settings(containerd_config_path=config_path, host=host, operations_address=operations_address)
    folder = hosts_folder(settings)
    if remove:
        remark(f"akua: {folder.path} {'is removed' if folder.remove() else 'has nothing of ours'}")
        for other in folder.remove_others():
            remark(f"akua: {other} is removed")
        if stay:
            stay_ready(settings)
    elif once:
        changed = asyncio.run(look_once(settings))
        remark(f"akua: {folder.path} {'is written' if changed else 'is as it should be'}")
    else:
        keep_trust(settings)
