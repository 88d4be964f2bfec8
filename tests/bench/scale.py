"""A webhook and a proxy on a control plane with 5,000 installs, 20,000 grants and 2,000 namespaces: how soon they are ready, what
they hold, what they cost while nothing happens, and how soon a change is felt. Real processes with the manifests' rights.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from registry_access.audit.trail import sql_trail
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import API_VERSION
from registry_access.state.kubernetes.client.api import MERGE_PATCH, METADATA_LIST, KubernetesApi
from registry_access.state.kubernetes.client.resource_path import WatchScope, collection_path
from tests.bench.api_server import compare, serving_loopback
from tests.bench.connection import Connection, trusting_anyone
from tests.bench.processes import Served
from tests.support.cluster_process import ClusterProcess, cluster_process, install_rights
from tests.support.go_programs import ETCD, go_program
from tests.support.kubernetes import ControlPlane, api_server_metrics, running_control_plane
from tests.support.large_world import LargeWorld, WorldSize
from tests.support.pods import pod, review
from tests.support.ports import free_port
from tests.support.postgresql import postgresql
from tests.support.proxied_world import basic

STARTS = 3
CHANGES = 250
IDLE_SECONDS = 30.0
_PATIENCE = 90.0
_DSN = "audit.dsn"
_DIGEST = "sha256:" + "0" * 64


@dataclass
class Subject:
    """One program's figures; of several starts the medians count, of memory the largest."""

    name: str
    ready: list[float] = field(default_factory=list)  # seconds
    processor: list[float] = field(default_factory=list)  # seconds, until ready
    resident: list[float] = field(default_factory=list)  # MB, at rest
    peak: list[float] = field(default_factory=list)  # MB
    idle: float = 0.0  # of one core
    requests: float = 0.0  # a second, to the API server, at rest
    felt: list[float] = field(default_factory=list)  # seconds


def main(size: WorldSize | None = None) -> None:
    """Prints the table of docs/performance.md."""
    with tempfile.TemporaryDirectory(prefix="akua-scale-") as folder, ExitStack() as stack:
        root = Path(folder)
        plane = stack.enter_context(running_control_plane(root, etcd=go_program(ETCD)))
        install_rights(plane)
        # As overlays/production has it: both programs keep their trail in PostgreSQL, whose tables a proxy has made.
        database = stack.enter_context(postgresql()).dsn
        (root / _DSN).write_text(database)
        asyncio.run(_make_tables(database))
        registry = free_port()
        world = LargeWorld(size or WorldSize(), registry=f"127.0.0.1:{registry}")
        began = time.monotonic()
        asyncio.run(world.seed(plane.access()))
        print(f"{world.size}: written in {time.monotonic() - began:.0f} s", flush=True)
        measure(plane, root, world, registry)


def measure(plane: ControlPlane, root: Path, world: LargeWorld, registry: int) -> None:
    webhook, proxy = Subject("webhook"), Subject("proxy")
    written = asyncio.run(_versions(plane))
    late = _started(plane, root, webhook, world, _admission_while_syncing)
    _started(plane, root, proxy, world)
    changed = sum(1 for name, version in asyncio.run(_versions(plane)).items() if written.get(name) != version)
    print(f"objects of the sync that were written by its starts: {changed}")
    print(f"admission while everything is synced for the first time: {_percentiles(late)}", flush=True)
    with _process(plane, root, "webhook", world) as first, _process(plane, root, "proxy", world) as second:
        first.wait_until_ready(_PATIENCE)
        second.wait_until_ready(_PATIENCE)
        _wait_for_sync(first, world)
        asyncio.run(_felt(plane, world, registry, first, second, webhook, proxy))
    _show(webhook, proxy)
    with serving_loopback(plane, root, world) as running:
        running.wait_until_ready(_PATIENCE)
        _wait_for_sync(running, world)
        compare(plane, root, world, running)


def _started(
    plane: ControlPlane,
    root: Path,
    subject: Subject,
    world: LargeWorld,
    meanwhile: Callable[[ClusterProcess, LargeWorld], Coroutine[Any, Any, list[float]]] | None = None,
) -> list[float]:
    """Starts the program again and again; the last time it is left at rest for a while."""
    latencies: list[float] = []
    for number in range(STARTS):
        began = time.monotonic()
        with _process(plane, root, subject.name, world) as running:
            served = Served(f"127.0.0.1:{running.port}", running.process.pid)
            running.wait_until_ready(_PATIENCE)
            subject.ready.append(time.monotonic() - began)
            subject.processor.append(served.processor_seconds())
            if meanwhile is not None:
                latencies += asyncio.run(meanwhile(running, world))
                _wait_for_sync(running, world)
            if number == STARTS - 1:
                _rest(plane, subject, served)
            subject.resident.append(served.resident_megabytes())
            subject.peak.append(served.peak_megabytes())
    return latencies


def _rest(plane: ControlPlane, subject: Subject, served: Served) -> None:
    time.sleep(5)
    used, asked, began = served.processor_seconds(), _requests(plane), time.monotonic()
    time.sleep(IDLE_SECONDS)
    elapsed = time.monotonic() - began
    subject.idle = (served.processor_seconds() - used) / elapsed
    subject.requests = (_requests(plane) - asked) / elapsed


@contextmanager
def _process(plane: ControlPlane, root: Path, program: str, world: LargeWorld) -> Iterator[ClusterProcess]:
    audit = {"audit_dsn": _audit_dsn(root), "audit_writer": f"{program}-{uuid.uuid4().hex[:8]}"}
    with cluster_process(plane, root / program, program, host=world.host, log_level="warning", **audit) as running:
        yield running


async def _make_tables(dsn: str) -> None:
    trail = sql_trail(dsn)
    await trail.start()
    await trail.stop()


def _audit_dsn(root: Path) -> str:
    return (root / _DSN).read_text()


def _wait_for_sync(running: ClusterProcess, world: LargeWorld) -> None:
    """Until the leader has looked at every install."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        metrics = httpx.get(f"http://{running.operations}/metrics").text
        found = re.search(r'^akua_install_syncs_total\{result="synced"\} (\S+)$', metrics, re.MULTILINE)
        if found and float(found[1]) >= world.size.installs:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the sync did not come to its end: {found and found[1]}\n{running.logs()[-2000:]}")
        time.sleep(0.2)


async def _admission_while_syncing(running: ClusterProcess, world: LargeWorld) -> list[float]:
    """Latencies of reviews, one after the other, in the first seconds."""
    connection = Connection(running.port, trusting_anyone())
    labels = world.pod_labels(0)
    request = _review(world.targets(0)[0], f"{world.registry}/{world.repository(0)}:1", labels)
    latencies, until = [], time.monotonic() + 5
    await connection.send(request)  # what the handshake takes is not the sync's doing
    while time.monotonic() < until:
        began = time.perf_counter()
        status, answer = await connection.send(request)
        latencies.append(time.perf_counter() - began)
        if status != 200 or b'"patch"' not in answer:
            raise RuntimeError(answer)
        await asyncio.sleep(0.005)
    connection.close()
    return latencies


async def _felt(
    plane: ControlPlane,
    world: LargeWorld,
    registry: int,
    webhook: ClusterProcess,
    proxy: ClusterProcess,
    admission: Subject,
    pulls: Subject,
) -> None:
    api = KubernetesApi(plane.access())
    async with _upstream(registry):
        for number in range(CHANGES):
            pulls.felt.append(await _revocation(api, world, proxy.port, number))
            admission.felt.append(await _grant(api, world, webhook.port, number))
    await api.close()


async def _revocation(api: KubernetesApi, world: LargeWorld, port: int, number: int) -> float:
    """Seconds from sending the patch that revokes an install to the answer of the first pull that is refused."""
    connection = Connection(port, trusting_anyone(), world.host)
    name = f"{world.registry.replace(':', '_')}/{world.repository(number)}"
    headers = {"Authorization": basic(world.tokens[number])}

    async def pull() -> bool:
        status, _ = await connection.request("HEAD", f"/v2/{name}/manifests/1", headers=headers)
        if status not in (200, 403):
            raise RuntimeError(f"a pull was answered with {status}")
        return status == 200

    if not await pull():
        raise RuntimeError("a pull was refused before anything was revoked")
    path = f"{collection_path(Kind.INSTALL, world.workspace(number))}/{world.install(number)}"
    began = time.perf_counter()
    patching = asyncio.create_task(
        api.request("PATCH", path, body={"spec": {"revoked": True}}, content_type=MERGE_PATCH, timeout=30)
    )
    while await pull():
        await asyncio.sleep(0.001)
    felt = time.perf_counter() - began
    await patching
    connection.close()
    return felt


async def _grant(api: KubernetesApi, world: LargeWorld, port: int, number: int) -> float:
    """Seconds from sending a new pull grant to the answer of the first review that rewrites what it grants."""
    connection = Connection(port, trusting_anyone())
    namespace, image = world.targets(number)[0], f"ghcr.example/new-{number}/app"
    request = _review(namespace, f"{image}:1", {"new": str(number)})
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "PullGrant",
        "metadata": {"name": f"new-{number}", "namespace": namespace},
        "spec": {
            "host": world.host,
            "images": [image],
            "pullSecret": "akua-pull-new",
            "podSelector": {"matchLabels": {"new": str(number)}},
        },
    }
    began = time.perf_counter()
    creating = asyncio.create_task(api.request("POST", collection_path(Kind.PULL_GRANT, namespace), body=manifest, timeout=30))
    while b'"patch"' not in (await connection.send(request))[1]:
        await asyncio.sleep(0.001)
    felt = time.perf_counter() - began
    await creating
    connection.close()
    return felt


def _review(namespace: str, image: str, labels: dict[str, str]) -> bytes:
    document = pod(image)
    document["metadata"] |= {"namespace": namespace, "labels": labels}
    body = review(document).replace(b'"namespace": "prod"', f'"namespace": "{namespace}"'.encode())
    return b"POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def _upstream(port: int) -> AsyncIterator[None]:
    """A registry that has everything."""
    answer = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n"
        f"Docker-Content-Digest: {_DIGEST}\r\nContent-Length: 2\r\n\r\n"
    ).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
                break
            writer.write(answer if head.startswith(b"HEAD") else answer + b"{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield


async def _versions(plane: ControlPlane) -> dict[str, str]:
    """The resource versions of all that a sync writes."""
    api = KubernetesApi(plane.access())
    found: dict[str, str] = {}
    for scope in (
        WatchScope(Kind.PULL_GRANT),
        WatchScope(Kind.SECRET, label_selector="registry.akua.dev/install"),
        WatchScope(Kind.INSTALL),
    ):
        async for page in api.pages(scope, accept=METADATA_LIST):
            for item in page.get("items") or ():
                metadata = item["metadata"]
                if metadata["name"] != "akua-heartbeat":
                    found[f"{scope} {metadata['namespace']}/{metadata['name']}"] = metadata["resourceVersion"]
    await api.close()
    return found


def _requests(plane: ControlPlane) -> float:
    """How many requests the API server has answered or is answering."""
    found = re.findall(r"^apiserver_request_total\{.*\} (\S+)$", api_server_metrics(plane), re.MULTILINE)
    return sum(map(float, found))


def _percentiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    shown = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    return ", ".join(f"{name} {ordered[index] * 1000:.1f} ms" for name, index in shown.items())


def _show(*subjects: Subject) -> None:
    print(f"{'':10}{'ready s':>9}{'CPU s':>7}{'RSS MB':>8}{'peak MB':>9}{'idle CPU':>10}{'API req/s':>11}  a change felt")
    for each in subjects:
        ready, processor = statistics.median(each.ready), statistics.median(each.processor)
        resident, peak = max(each.resident), max(each.peak)
        print(f"{each.name:10}{ready:9.1f}{processor:7.1f}{resident:8.0f}{peak:9.0f}", end="")
        print(f"{each.idle:10.1%}{each.requests:11.1f}  {_percentiles(each.felt)}")


if __name__ == "__main__":
    main()
