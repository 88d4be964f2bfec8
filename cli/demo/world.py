"""The demo's world: two private upstream registries, a workspace with two installs, and all of Akua, in one process."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.demo.hello import hello_program
from control.session import CLI_MANAGER, workspace_manifest
from demo_registry.image import INDEX_TYPE
from demo_registry.registry import UpstreamRegistry
from programs.process import PROXY, WEBHOOK, Process
from programs.telemetry import Telemetry
from registry_access.model.errors import InvalidSettings, StateUnavailable
from registry_access.model.resources import Install, Kind
from registry_access.model.resources.metadata import API_VERSION
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.serving import OPERATIONS, Listener, Servers
from registry_access.settings import Settings
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.interface import StateStore
from registry_access.state.workspace_secrets import WorkspaceSecrets

WORKSPACE = "acme"
LAYERS = (1_500_000, 4_000_000, 12_000_000)  # bytes, in addition to the program's own small layer
_LOOPBACK = "127.0.0.1"
_PORTS = {PROXY: 15000, "packages": 15001, "partner": 15002, WEBHOOK: 15443, OPERATIONS: 15090}
_PATIENCE = 15.0
_ATTEMPTS = 5


@dataclass(slots=True)
class World:
    """`packages` asks for Bearer tokens, `partner` for Basic. `editor` changes state as another process would."""

    folder: Path
    ports: dict[str, int]
    packages: UpstreamRegistry
    partner: UpstreamRegistry
    process: Process
    editor: DirectoryStore

    @property
    def host(self) -> str:
        """The proxy, as images name it."""
        return f"{_LOOPBACK}:{self.ports[PROXY]}"

    def upstream(self, name: str) -> str:
        return f"localhost:{self.ports[name]}"

    @property
    def store(self) -> StateStore:
        assert self.process.store is not None  # noqa: S101 - the process runs
        return self.process.store

    @property
    def settings_file(self) -> Path:
        return self.folder / "akua.toml"

    def install(self, name: str) -> Install:
        found = self.store.index.install(WORKSPACE, name)
        assert found is not None  # noqa: S101 - the demo made it
        return found

    def token(self, name: str) -> str:
        assert self.process.sync is not None  # noqa: S101 - the process runs
        return self.process.sync.reconciler.token(self.install(name)).token

    async def edit(self, kind: Kind, name: str, spec: dict[str, Any]) -> None:
        """Patches a spec as another process would; the proxy sees the change through its watch."""
        key = next(item.key for item in self.store.index.of_kind(kind) if item.metadata.name == name)
        await self.editor.patch(key, {"spec": spec})


@asynccontextmanager
async def demo_world() -> AsyncIterator[World]:
    """Everything running and provisioned, in a temporary folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="akua-demo-"))
    try:
        async with _started(folder) as world:
            await world.editor.start()
            await _provision(world)
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _started(folder: Path) -> AsyncIterator[World]:
    """The registries and Akua itself, serving. If another process takes a free port first, another one is chosen."""
    packages, partner = UpstreamRegistry(login="bearer"), UpstreamRegistry(login="basic")
    _seed(packages, partner)
    for attempt in range(_ATTEMPTS):
        ports = {name: _free_port(0 if attempt else wanted) for name, wanted in _PORTS.items()}
        process = Process(_settings(folder, ports), folder)
        serving: list[asyncio.Task[None]] = []
        upstreams: Servers | None = None
        started = asyncio.Event()
        try:
            upstreams = _upstreams(ports, packages, partner)
            serving.append(asyncio.create_task(upstreams.run()))
            serving.append(asyncio.create_task(process.run(started.set)))
            await _either(started.wait(), *serving)
            yield World(folder, ports, packages, partner, process, DirectoryStore(folder / "state", watch=False))
            return
        except InvalidSettings:
            if started.is_set() or attempt == _ATTEMPTS - 1:
                raise
        finally:
            process.stop()
            await asyncio.gather(*serving[1:], return_exceptions=True)
            if upstreams:
                upstreams.stop()
            await asyncio.gather(*serving, return_exceptions=True)


def _upstreams(ports: dict[str, int], packages: UpstreamRegistry, partner: UpstreamRegistry) -> Servers:
    registries = (("packages", packages), ("partner", partner))
    listeners = [Listener(name, registry.app(), Address(_LOOPBACK, ports[name])) for name, registry in registries]
    return Servers(listeners, telemetry=Telemetry(), health=Health(), drain=1.0)


def _settings(folder: Path, ports: dict[str, int]) -> Settings:
    """The settings, also written to a file for the commands that the user may try."""
    host = f"{_LOOPBACK}:{ports[PROXY]}"
    settings = Settings(
        state=f"directory:{folder / 'state'}",
        audit_dsn=f"sqlite:///{folder / 'audit.db'}",
        host=host,
        external_url=f"http://{host}",
        proxy_address=Address(_LOOPBACK, ports[PROXY]),
        webhook_address=Address(_LOOPBACK, ports[WEBHOOK]),
        operations_address=Address(_LOOPBACK, ports[OPERATIONS]),
        drain=2.0,
    )
    names = ("state", "audit_dsn", "host", "external_url", "proxy_address", "webhook_address", "operations_address")
    lines = [f'{name} = "{getattr(settings, name)}"\n' for name in names]
    (folder / "akua.toml").write_text("".join(lines))
    return settings


def _seed(packages: UpstreamRegistry, partner: UpstreamRegistry) -> None:
    """The product contains acme/storefront but not acme/billing. partner/worker is in another registry."""
    for name in ("acme/storefront", "acme/billing"):
        _add_image(packages, name, LAYERS)
    _add_image(partner, "partner/worker", LAYERS[:1])


def _add_image(registry: UpstreamRegistry, name: str, sizes: tuple[int, ...]) -> None:
    repository, noise = registry.repository(name), random.Random(name)  # noqa: S311 - content that does not compress
    layers = [{f"srv/data-{number}": noise.randbytes(size)} for number, size in enumerate(sizes, 1)]
    platforms = [
        repository.add_image([{"hello": hello_program(architecture)}, *layers], "", architecture, "/hello")
        | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture in ("amd64", "arm64")
    ]
    repository.add_manifest({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": platforms}, "1.4")


async def _provision(world: World) -> None:
    """Applies what an administrator would apply, through the same state."""
    store = world.store
    await store.apply(workspace_manifest(WORKSPACE), manager=CLI_MANAGER)
    for name, registry in (("packages", world.packages), ("partner", world.partner)):
        secret = {"username": registry.username, "password": registry.password}
        await WorkspaceSecrets(store).add(WORKSPACE, name, secret)
        await _apply(
            store,
            "RegistryCredential",
            name,
            {
                "registry": world.upstream(name),
                "type": "Basic",
                "secretName": name,
                "insecure": True,
                "allowPrivateAddresses": True,
            },
        )
    repositories = [f"{world.upstream('packages')}/acme/storefront", f"{world.upstream('partner')}/partner/*"]
    await _apply(store, "Product", "storefront", {"repositories": repositories})
    for name in ("shop", "kiosk"):
        await _apply(store, "Install", name, {"product": "storefront", "targets": [{"namespace": f"{name}-prod"}]})
    async with asyncio.timeout(_PATIENCE):
        while not all(store.index.grants(f"{name}-prod") for name in ("shop", "kiosk")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _apply(store: StateStore, kind: str, name: str, spec: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": WORKSPACE}
    await store.apply({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}, manager=CLI_MANAGER)


async def _either(awaited: Any, *tasks: asyncio.Task[None]) -> None:
    """Waits for `awaited`, or raises the error that ended a task first."""
    waiting = asyncio.ensure_future(awaited)
    done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if waiting not in done:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        for task in done:
            task.result()
        raise StateUnavailable("the demo stopped before it had started")


def _free_port(wanted: int) -> int:
    """`wanted`, or any free port if that one is taken."""
    for port in (wanted, 0):
        try:
            with socket.create_server((_LOOPBACK, port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise StateUnavailable("no port is free on 127.0.0.1")
