"""`akua serve`, `akua proxy`, `akua webhook`: the processes that run."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer
import uvloop

from cli.presentation import remark
from cli.process import PROXY, WEBHOOK, Process
from cli.session import invocation
from registry_access.model.errors import AkuaError
from registry_access.runtime.json_logging import configure_logging
from registry_access.runtime.serving import OPERATIONS

logger = logging.getLogger(__name__)
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
    settings = {"proxy_address": proxy_address, "webhook_address": webhook_address}
    _run(context, proxy=True, webhook=True, operations_address=operations_address, host=host, **settings)


def proxy(
    context: typer.Context, proxy_address: AddressOption = "", operations_address: AddressOption = "", host: HostOption = ""
) -> None:
    """Run the proxy alone: token endpoint, pulls, audit trail. It never holds the key that signs install tokens."""
    _run(context, proxy=True, webhook=False, proxy_address=proxy_address, operations_address=operations_address, host=host)


def webhook(
    context: typer.Context, webhook_address: AddressOption = "", operations_address: AddressOption = "", host: HostOption = ""
) -> None:
    """Run the admission webhook and the install sync alone. They never hold an upstream credential."""
    _run(context, proxy=False, webhook=True, webhook_address=webhook_address, operations_address=operations_address, host=host)


def _run(context: typer.Context, *, proxy: bool, webhook: bool, **given: str) -> None:
    found = invocation(context)
    settings = found.settings(**given)
    process = Process(settings, found.home, proxy=proxy, webhook=webhook)
    handler = configure_logging(settings.log_level, process.redactor, process.telemetry.log_drops.inc)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(process.run(lambda: _announce(process)))
    except AkuaError:
        raise
    except Exception:
        logger.exception("the process cannot go on")
        raise
    finally:
        handler.close()


def _announce(process: Process) -> None:
    """For a person who looks; programs read the log on standard output."""
    schemes = {
        PROXY: "https" if process.settings.proxy_tls else "http",
        WEBHOOK: "https",
        OPERATIONS: "http",
    }
    paths = {PROXY: "/v2/", WEBHOOK: "/mutate", OPERATIONS: "/readyz"}
    for name in process.names:
        remark(f"akua: {name:<10} {schemes[name]}://{process.address(name)}{paths[name]}")
