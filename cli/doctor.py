"""`akua doctor`: what is wrong with this installation, and how to mend it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

import httpx
import typer
from cryptography import x509
from rich.text import Text

from cli.options import Output, OutputOption
from cli.presentation import show_json, show_rows, span
from cli.session import Invocation, invocation, opened
from registry_access.audit.trail import sql_trail
from registry_access.model.errors import AkuaError, InvalidSettings
from registry_access.model.workspace_secret import SecretProblem, resolve_secret
from registry_access.runtime.settings import Address, Settings
from registry_access.state.index import ResourceIndex

_EXPIRY_WARNING_DAYS = 14


class Finding(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `detail` says what was found; for what is not good, also how to mend it."""

    name: str
    finding: Finding
    detail: str


_MARKS = {Finding.GOOD: ("✓", "green"), Finding.WARNING: ("!", "yellow"), Finding.BAD: ("✗", "red")}


def doctor(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Look at settings, state, audit trail, certificates, ports, credentials and installs, and say what to mend.

    Exit code 1 when something is bad.
    """
    checks = asyncio.run(_all(invocation(context)))
    if output is Output.JSON:
        show_json([{"check": item.name, "finding": str(item.finding), "detail": item.detail} for item in checks])
    else:
        rows = [(Text(*_MARKS[item.finding]), item.name, item.detail) for item in checks]
        show_rows(("", "check", "finding"), rows, empty="")
    if any(item.finding is Finding.BAD for item in checks):
        raise typer.Exit(1)


async def _all(found: Invocation) -> list[Check]:
    try:
        settings = found.settings()
    except InvalidSettings as error:
        # Everything else hangs on them.
        return [Check("settings", Finding.BAD, str(problem)) for problem in error.problems]
    checks = [Check("settings", Finding.GOOD, f"state {settings.state}, host {settings.host}")]
    checks += [check async for check in _state(settings)]
    checks.append(await _audit(settings))
    checks += _certificates(settings, found.home)
    checks += [check async for check in _servers(settings)]
    checks.append(await _name(settings))
    return checks


async def _state(settings: Settings) -> AsyncIterator[Check]:
    try:
        async with opened(settings) as store:
            index = store.index
            counts = (
                f"{len(index.installs())} installs, {len(index.products())} products, {len(index.all_credentials())} credentials"
            )
            yield Check("state", Finding.GOOD, f"read: {counts}")
            for problem in store.problems():
                yield Check("state", Finding.BAD, str(problem))
            for check in (*_credentials(index), *_installs(index)):
                yield check
    except AkuaError as error:
        yield Check("state", Finding.BAD, str(error))


def _credentials(index: ResourceIndex) -> list[Check]:
    checks = []
    for item in sorted(index.all_credentials(), key=lambda item: (item.workspace, item.metadata.name)):
        name = f"credential {item.workspace}/{item.metadata.name}"
        secret = resolve_secret(item, partial(index.secret, item.workspace))
        if isinstance(secret, SecretProblem):
            checks.append(Check(name, Finding.BAD, secret.detail))
        elif item.disabled:
            checks.append(Check(name, Finding.WARNING, f"is disabled; `akua credential enable {item.metadata.name}` restores it"))
        else:
            checks.append(Check(name, Finding.GOOD, f"{item.registry}, secret version {secret.version}"))
    return checks


def _installs(index: ResourceIndex) -> list[Check]:
    checks = []
    now = datetime.now(UTC)
    for item in sorted(index.installs(), key=lambda item: (item.workspace, item.metadata.name)):
        name, command = f"install {item.workspace}/{item.metadata.name}", f"`akua install restore {item.metadata.name}`"
        if item.product and index.product(item.workspace, item.product) is None:
            checks.append(Check(name, Finding.BAD, f"product {item.product} does not exist; create it, or name another"))
        elif item.revoked:
            checks.append(Check(name, Finding.WARNING, f"is revoked; {command} restores it"))
        elif item.expires_at is not None and item.expires_at <= now:
            checks.append(Check(name, Finding.WARNING, f"expired at {item.expires_at:%Y-%m-%d}; set a later spec.expiresAt"))
        elif failed := [target for target in item.status.targets if not target.synced]:
            checks.append(Check(name, Finding.BAD, f"namespace {failed[0].namespace}: {failed[0].message}"))
        else:
            checks.append(Check(name, Finding.GOOD, item.product or ", ".join(map(str, item.repositories))))
    return checks


async def _audit(settings: Settings) -> Check:
    trail = sql_trail(settings.audit_dsn, read_only=True)
    try:
        await trail.start()
        report = await trail.verify()
    except AkuaError as error:
        absent = settings.audit_dsn.startswith("sqlite:///") and not Path(settings.audit_dsn.removeprefix("sqlite:///")).exists()
        if absent:
            return Check("audit trail", Finding.WARNING, "is not there yet; `akua serve` makes it")
        return Check("audit trail", Finding.BAD, str(error))
    finally:
        await trail.stop()
    if report.ok:
        return Check("audit trail", Finding.GOOD, f"{report.records} records, the chain is whole")
    return Check("audit trail", Finding.BAD, f"record {report.first_bad}: {report.problem}; restore it from a backup")


def _certificates(settings: Settings, home: Path) -> list[Check]:
    given = {"proxy certificate": settings.proxy_tls_certificate, "webhook certificate": settings.webhook_tls_certificate}
    own = home / "tls" / "webhook.crt"
    if not settings.webhook_tls_certificate and own.exists():
        given["webhook certificate"] = str(own)
    return [_certificate(name, Path(file)) for name, file in given.items() if file]


def _certificate(name: str, file: Path) -> Check:
    try:
        expiry = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        return Check(name, Finding.BAD, f"{file} cannot be read: {error}; give a PEM certificate chain")
    left = (expiry - datetime.now(UTC)).total_seconds()
    if left <= 0:
        return Check(name, Finding.BAD, f"{file} expired at {expiry:%Y-%m-%d %H:%M}Z; renew it, it is loaded without a restart")
    soon = left < _EXPIRY_WARNING_DAYS * 86400
    return Check(name, Finding.WARNING if soon else Finding.GOOD, f"{file} is good for {span(left)}")


async def _servers(settings: Settings) -> AsyncIterator[Check]:
    """Ready when something of ours answers; otherwise whether the ports are free to start on."""
    url = f"http://{_reachable(settings.operations_address)}/readyz"
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            answer = await client.get(url)
        failures = answer.json()["failures"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        for name in ("proxy", "webhook", "operations"):
            address: Address = getattr(settings, f"{name}_address")
            free = not address.port or _free(address)
            said = "is free" if free else f"is taken by something else; stop it, or set AKUA_{name.upper()}_ADDRESS"
            yield Check(f"{name} address", Finding.GOOD if free else Finding.BAD, f"{address} {said}")
        yield Check("server", Finding.WARNING, f"nothing of ours answers at {url}; `akua serve` starts it")
        return
    if failures:
        for check, problem in failures.items():
            yield Check(f"server: {check}", Finding.BAD, str(problem))
    else:
        yield Check("server", Finding.GOOD, f"{url} says ready")


async def _name(settings: Settings) -> Check:
    """The container runtimes of nodes resolve this name too; here is a first look."""
    host = settings.host.rpartition(":")[0] if ":" in settings.host else settings.host
    began = time.monotonic()
    try:
        found = await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM), 3)
    except (OSError, TimeoutError):
        return Check(
            "host", Finding.WARNING, f"{host} does not resolve here; every node's container runtime must resolve and trust it"
        )
    addresses = sorted({str(item[4][0]) for item in found})
    return Check("host", Finding.GOOD, f"{host} is {', '.join(addresses)} ({(time.monotonic() - began) * 1000:.0f} ms)")


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
