"""`akua serve`, `akua proxy`, `akua webhook`, as commands with options. Without any, cli/entry.py runs them by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.programs import run_program
from cli.session import invocation

AddressOption = Annotated[str, typer.Option(help="address:port to listen on; port 0: any free one.", show_default=False)]
HostOption = Annotated[str, typer.Option(help="The name that images carry for the proxy.", show_default=False)]


def serve(
    context: typer.Context,
    proxy_address: AddressOption = "",
    webhook_address: AddressOption = "",
    operations_address: AddressOption = "",
    host: HostOption = "",
) -> None:
    """Run everything in one process: proxy, admission webhook, install sync, health and metrics.

    State, audit trail and certificates live in the folder .akua unless settings say otherwise; the webhook makes a certificate of
    its own. SIGTERM: not ready, streams drain, the audit trail is flushed.

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
