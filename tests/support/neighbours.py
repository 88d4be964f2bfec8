"""A workspace that works beside one that attacks: both behind one real `akua serve`, with a real registry as upstream."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo_registry.image import Repository
from tests.bench.connection import Connection, trusting_anyone
from tests.support.akua_process import AkuaProcess, akua_serve
from tests.support.attacks import WORKSPACE as NOISY
from tests.support.attacks import Target
from tests.support.docker_registry import PASSWORD, USERNAME, DockerRegistry, docker_registry
from tests.support.pods import pod, review
from tests.support.proxied_world import basic
from tests.support.pushing import push_repository

API = "registry.akua.dev/v1alpha1"
QUIET, NAMESPACE = "acme", "prod"
_PACE_SECONDS = 0.02  # of the neighbour's own requests; it must notice something, not load the machine


@dataclass
class Observed:
    """What the quiet neighbour got: seconds for each answer, and every answer that was not as it should be."""

    pulls: list[float] = field(default_factory=list)
    pods: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Street:
    """The server, what the quiet workspace asks for, and what the attacker knows."""

    akua: AkuaProcess
    authorization: str
    manifest: str
    blob: str
    image: str
    target: Target

    async def observe(self, seconds: float) -> Observed:
        """Pulls and admits pods, one after the other and both at once, for that long and at least twenty of each."""
        found = Observed()
        until = time.perf_counter() + seconds

        async def asked(times: list[float], ask: Any) -> None:
            while time.perf_counter() < until or len(times) < 20:
                began = time.perf_counter()
                try:
                    async with asyncio.timeout(30):
                        found.wrong.extend(await ask())
                except (OSError, EOFError, TimeoutError, ValueError) as error:
                    found.wrong.append(repr(error))
                times.append(time.perf_counter() - began)
                await asyncio.sleep(_PACE_SECONDS)

        await asyncio.gather(asked(found.pulls, self._pull), asked(found.pods, self._admit))
        return found

    async def _pull(self) -> list[str]:
        """As a node does: a connection of its own, the manifest, then a blob."""
        connection = Connection(self.target.proxy)
        wrong = []
        try:
            for path in (self.manifest, self.blob):
                status, body = await connection.request(
                    "GET",
                    path,
                    headers={"Authorization": self.authorization, "Accept": "*/*, application/vnd.oci.image.manifest.v1+json"},
                )
                if status != 200:
                    wrong.append(f"GET {path}: {status} {body[:300]!r}")
        finally:
            connection.close()
        return wrong

    async def _admit(self) -> list[str]:
        connection = Connection(self.target.webhook, trusting_anyone())
        try:
            status, body = await connection.request("POST", "/mutate", review(pod(self.image)))
        finally:
            connection.close()
        answer = json.loads(body)["response"] if status == 200 else {}
        patch = base64.b64decode(answer.get("patch", "")).decode()
        return [] if answer.get("allowed") and self.akua.host in patch else [f"POST /mutate: {status} {body[:300]!r}"]

    @asynccontextmanager
    async def attacked(self, name: str) -> AsyncIterator[None]:
        """While the block runs, from a process of its own, which is stopped by pid."""
        command = [sys.executable, "-m", "tests.support.attacks", name, self.target.to_json()]
        folder = Path(__file__).parents[2]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:  # noqa: ASYNC220
            try:
                await asyncio.sleep(2)  # it has to import, connect and fill what it fills
                assert running.poll() is None, running.communicate()[1].decode()[-2000:]
                yield
                assert running.poll() is None, running.communicate()[1].decode()[-2000:]
            finally:
                running.kill()


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    """Needs docker-registry."""
    repository = Repository()
    repository.add_image([{"etc/name": b"app"}, {"data/more": bytes(range(256)) * 256}], "1.0", "amd64")
    with (
        _silence() as dead,
        docker_registry(folder / "registry") as registry,
        akua_serve(folder / "akua", upstream_ca_file=str(registry.ca_file)) as akua,
    ):
        with registry.client() as client:
            push_repository(client, "acme/app", repository)
        akua.drop("street", *_workspace(QUIET, registry, "shop"), *_workspace(NOISY, registry, "loud", "gone", dead=dead))
        yield _ready(akua, registry, repository, dead)


def _ready(akua: AkuaProcess, registry: DockerRegistry, repository: Repository, dead: str) -> Street:
    quiet, loud, gone = (
        basic(akua.run("install", "token", name, "--workspace", workspace).stdout.strip(), name)
        for workspace, name in ((QUIET, "shop"), (NOISY, "loud"), (NOISY, "gone"))
    )
    akua.run("install", "revoke", "gone", "--workspace", NOISY)
    base = f"/v2/{registry.authority.replace(':', '_')}/acme/app"
    target = Target(
        proxy=int(akua.host.rpartition(":")[2]),
        webhook=int(akua.environment["AKUA_WEBHOOK_ADDRESS"].rpartition(":")[2]),
        state=str(akua.folder / "state"),
        token=loud,
        revoked=gone,
        image=f"{base}/manifests/",
        dead=f"/v2/{dead.replace(':', '_')}/acme/app/manifests/",
        namespace=NAMESPACE,
    )
    blob = min(repository.blobs, key=lambda digest: len(repository.blobs[digest]))
    made = Street(akua, quiet, f"{base}/manifests/1.0", f"{base}/blobs/{blob}", f"{registry.authority}/acme/app:1.0", target)
    deadline = time.monotonic() + 30
    while wrong := asyncio.run(made.observe(0)).wrong:
        assert time.monotonic() < deadline, wrong[:3]
    return made


def _workspace(name: str, registry: DockerRegistry, *installs: str, dead: str = "") -> list[dict[str, Any]]:
    def made(version: str, kind: str, own: str, **rest: Any) -> dict[str, Any]:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": own, "namespace": name}, **rest}

    def login(own: str, host: str, **more: Any) -> dict[str, Any]:
        spec = {"registry": host, "type": "Basic", "secretName": "upstream", "allowPrivateAddresses": True, **more}
        return made(API, "RegistryCredential", own, spec=spec)

    repositories = [f"{registry.authority}/acme/*", *([f"{dead}/acme/*"] if dead else [])]
    targets = [{"namespace": NAMESPACE}] if name == QUIET else []
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"registry.akua.dev/workspace": "true"}}},
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE if name == QUIET else f"{name}-pods",
                "annotations": {"registry.akua.dev/workspaces": name},
            },
        },
        made("v1", "Secret", "upstream", stringData={"username": USERNAME, "password": PASSWORD}),
        login("upstream", registry.authority),
        *([login("dead", dead, insecure=True)] if dead else []),
        *(made(API, "Install", each, spec={"repositories": repositories, "targets": targets}) for each in installs),
    ]


@contextmanager
def _silence() -> Iterator[str]:
    """A registry that takes connections and never answers; its authority."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
