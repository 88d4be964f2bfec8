"""A test CA, and TLS servers on names of their own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import trustme
import uvicorn
from starlette.types import ASGIApp


@cache
def certificate_authority() -> trustme.CA:
    return trustme.CA()


def client_context() -> ssl.SSLContext:
    """Trusts the test CA and nothing else."""
    context = ssl.create_default_context()
    certificate_authority().configure_trust(context)
    return context


@dataclass(frozen=True, slots=True)
class TlsServer:
    """`authority` is name:port; the name leads to 127.0.0.1 by way of `overrides` alone."""

    authority: str
    overrides: dict[str, str]


@asynccontextmanager
async def served_tls(app: ASGIApp, *names: str) -> AsyncIterator[TlsServer]:
    """Serves `app` by TLS with a certificate for `names`; the first is the authority's."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=0)
    config.load()
    config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate_authority().issue_cert(*names).configure_cert(config.ssl)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield TlsServer(f"{names[0]}:{listener.getsockname()[1]}", dict.fromkeys(names, "127.0.0.1"))
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()
