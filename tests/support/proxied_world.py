"""A whole proxy on real parts: directory state, SQLite audit, a private upstream registry, real connections on loopback."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from demo_registry.registry import UpstreamRegistry
from programs.telemetry import Telemetry
from proxy.assembly import Proxy, start_proxy
from registry_access.audit.interface import AuditQuery, AuditRow
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import InstallTokenClaims, mint_install_token
from registry_access.runtime.health import Health
from registry_access.settings import Settings
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, SigningKeys, ensure_keys, publish
from tests.support.serving import served

API = "registry.akua.dev/v1alpha1"
WORKSPACE = "acme"


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": WORKSPACE}, "spec": spec}


@dataclass
class World:
    """Everything a test asks about, running."""

    store: DirectoryStore
    proxy: Proxy
    upstream: UpstreamRegistry
    upstream_host: str
    host: str
    telemetry: Telemetry
    keys: SigningKeys
    client: httpx.AsyncClient
    database: Path

    def name(self, repository: str) -> str:
        """The repository's name at the proxy."""
        return f"{self.upstream_host.replace(':', '_')}/{repository}"

    def path(self, repository: str, kind: str, reference: str) -> str:
        return f"/v2/{self.name(repository)}/{kind}/{reference}"

    async def install(self, name: str, **spec: Any) -> str:
        """Creates an install and returns a token for it."""
        spec = {"repositories": [f"{self.upstream_host}/acme/app"], **spec}
        created = await self.store.create(resource("Install", name, spec))
        return self.token(name, created.metadata.uid)

    def token(self, name: str, uid: str, **changes: Any) -> str:
        now = int(time.time())
        identity = InstallIdentity(WORKSPACE, name, uid, 1)
        claims = InstallTokenClaims(identity, f"tok_{name}_0001", now, now + 3600, self.proxy.services.host)
        return mint_install_token(replace(claims, **changes), self.keys.active(now))

    async def pull(self, token: str, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        return await self.client.request(method, path, headers={"Authorization": basic(token), **headers})

    async def audit(self, **query: Any) -> tuple[AuditRow, ...]:
        """Rows with their outcomes, newest first."""
        trail = self.proxy.services.trail
        for _ in range(200):
            rows = (await trail.query(AuditQuery(**query))).rows
            if not trail.lag() and all(row.outcome for row in rows):
                return rows
            await asyncio.sleep(0.01)
        return rows


def basic(token: str, user: str = "install") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


@asynccontextmanager
async def world(
    folder: Path, upstream: UpstreamRegistry | None = None, *, overrides: dict[str, str] | None = None, **settings: Any
) -> AsyncIterator[World]:
    """The proxy with a credential "upstream" for the registry's `acme/*`, no install yet."""
    upstream = upstream or UpstreamRegistry()
    store = DirectoryStore(folder / "state", heartbeat_seconds=0.2)
    await store.start()
    telemetry = Telemetry()
    database = folder / "audit.db"
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, keys, "test")
    configured = Settings(audit_dsn=f"sqlite:///{database}", external_url="http://proxy.test", host="oci.akua.dev", **settings)
    proxy = await start_proxy(configured, store, telemetry, Health(), overrides=overrides)
    async with served(upstream.app()) as upstream_host, served(proxy.app) as host:
        await store.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "upstream", "namespace": WORKSPACE},
                "stringData": {"username": upstream.username, "password": upstream.password},
            }
        )
        spec = {
            "registry": upstream_host,
            "type": "Basic",
            "secretName": "upstream",
            "insecure": True,
            "allowPrivateAddresses": True,
        }
        await store.create(resource("RegistryCredential", "upstream", spec))
        async with httpx.AsyncClient(base_url=f"http://{host}", timeout=10) as client:
            yield World(store, proxy, upstream, upstream_host, host, telemetry, keys, client, database)
    await proxy.stop()
    await store.stop()
