"""Checks of this machine: certificate files, ports, the local server, and how the proxy's name resolves here."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography import x509

from control.doctor.finding import Check, bad, expiry, good, warning
from registry_access.runtime.http.address import Address
from registry_access.settings import Settings

_RESOLVE_SECONDS = 3


def certificate_files(settings: Settings, home: Path) -> list[Check]:
    given = {"proxy certificate": settings.proxy_tls_certificate, "webhook certificate": settings.webhook_tls_certificate}
    own = home / "tls" / "webhook.crt"
    if not settings.webhook_tls_certificate and own.exists():
        given["webhook certificate"] = str(own)
    return [_certificate(name, Path(file)) for name, file in given.items() if file]


def _certificate(name: str, file: Path) -> Check:
    try:
        end = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        return bad(name, f"{file} cannot be read: {error}; give a PEM certificate chain")
    return expiry(name, str(file), end, datetime.now(UTC), "renew it; it is reloaded without a restart")


async def server_checks(settings: Settings) -> AsyncIterator[Check]:
    """Whether the local akua process is ready; if none answers, whether its ports are free."""
    url = f"http://{_reachable(settings.operations_address)}/readyz"
    failures = await readiness_failures(settings)
    if failures is None:
        for name in ("proxy", "webhook", "operations"):
            address: Address = getattr(settings, f"{name}_address")
            if not address.port or _free(address):
                yield good(f"{name} address", f"{address} is free")
            else:
                yield bad(
                    f"{name} address", f"{address} is in use by another process; stop it, or set AKUA_{name.upper()}_ADDRESS"
                )
        yield warning("server", f"no akua process answers at {url}; start one with `akua serve`")
    elif failures:
        for check, problem in failures.items():
            yield bad(f"server: {check}", problem)
    else:
        yield good("server", f"{url} reports ready")


async def readiness_failures(settings: Settings) -> dict[str, str] | None:
    """The problems that the server at the operations address reports, by check, including those that keep it ready. None if
    no akua process answers there.
    """
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            answer = await client.get(f"http://{_reachable(settings.operations_address)}/readyz")
        said = answer.json()
        return {str(check): str(problem) for check, problem in {**said.get("concerns", {}), **said["failures"]}.items()}
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None


async def name_check(host: str) -> Check:
    """Nodes' container runtimes must resolve this name too; this is only a first check."""
    name, began = host_name(host), time.monotonic()
    addresses = await resolved(name)
    if not addresses:
        return warning("host", f"{name} does not resolve here; every node's container runtime must resolve and trust it")
    if addresses == [name]:
        return good("host", f"{name} is an address, so nothing needs to resolve it")
    return good("host", f"{name} resolves to {', '.join(addresses)} ({(time.monotonic() - began) * 1000:.0f} ms)")


async def resolved(name: str) -> list[str]:
    """The addresses of a name; empty if it does not resolve here within 3 s."""
    try:
        question = asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        found = await asyncio.wait_for(question, _RESOLVE_SECONDS)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return sorted({str(item[4][0]) for item in found})


def host_name(host: str) -> str:
    """`host` without its port, an IPv6 address without its brackets."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.strip("[]")


def _free(address: Address) -> bool:
    try:
        with socket.create_server(
            (address.host, address.port), family=socket.AF_INET6 if ":" in address.host else socket.AF_INET
        ):
            return True
    except OSError:
        return False


def _reachable(address: Address) -> str:
    host = "127.0.0.1" if address.host == "0.0.0.0" else address.host  # noqa: S104 - asked, not bound
    return f"{f'[{host}]' if ':' in host else host}:{address.port}"
