"""Real servers on loopback for tests that need real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.http.guarded_protocol import guarded
from registry_access.runtime.http.immediate_protocol import ImmediateApp, immediate

LIMITS = Limits(head=2.0, body=2.0)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Tests keep their own."""


@asynccontextmanager
async def served(app: ASGIApp | ImmediateApp, *, guard: bool = True, limits: Limits = LIMITS) -> AsyncIterator[str]:
    """Serves `app` and gives its authority, ``127.0.0.1:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    protocol: Any = immediate(limits, app) if isinstance(app, ImmediateApp) else guarded(limits) if guard else "httptools"
    config = uvicorn.Config(
        cast("ASGIApp", app),
        http=protocol,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # as the product does
        timeout_graceful_shutdown=0,
    )
    server = _Server(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listener.close()
