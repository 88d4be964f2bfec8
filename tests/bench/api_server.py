"""What the API server itself says of its webhooks, ours and a minimal one on controller-runtime, while 16 clients create pods.

Both are registered side by side, each for the pods of its label; rounds take turns. The figures are the API server's histogram
`apiserver_admission_webhook_admission_duration_seconds`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.connection import Connection, trusting_anyone
from tests.bench.processes import Served
from tests.bench.webhooks import go_webhook
from tests.support.api_requests import api_requests
from tests.support.cluster_process import ClusterProcess, cluster_process, install_rights
from tests.support.kubernetes import ControlPlane, api_server_metrics, running_control_plane
from tests.support.large_world import LargeWorld, WorldSize
from tests.support.pods import pod
from tests.support.tls import certificate_authority

CREATORS = 16
ROUNDS = 6
PODS = 800  # in each round, for each webhook
_FILLER = "x" * 3000  # an ordinary pod comes to 6 KB
_LABEL = "bench"
_METRIC = "apiserver_admission_webhook_admission_duration_seconds"
_BUCKET = re.compile(rf'^{_METRIC}_bucket\{{name="(\S+?)\.bench\.example",.*le="(\S+?)"\}} (\d+)$', re.M)
_SUM = re.compile(rf'^{_METRIC}_sum\{{name="(\S+?)\.bench\.example",.*\}} (\S+)$', re.M)


@dataclass
class Registered:
    """A webhook as the API server sees it: calls by upper bound of their duration (cumulative), seconds in all."""

    name: str
    title: str
    served: Served
    buckets: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0
    processor: float = 0.0

    def show(self) -> None:
        count = self.buckets[float("inf")]
        mean, late = self.seconds / count * 1000, _quantile(self.buckets, 0.99) * 1000
        cost = self.processor / count * 1000
        print(f"{self.title:20}{count:8.0f}{mean:10.2f}{late:10.1f}{cost:12.3f}{self.served.resident_megabytes():9.0f}")


def main() -> None:
    """On a small world; `scale` runs it on a large one."""
    with tempfile.TemporaryDirectory(prefix="akua-api-server-") as folder, ExitStack() as stack:
        root = Path(folder)
        plane = stack.enter_context(running_control_plane(root))
        install_rights(plane)
        world = LargeWorld(WorldSize(100, 4, 100, 400))
        asyncio.run(world.seed(plane.access()))
        webhook = stack.enter_context(serving_loopback(plane, root, world))
        webhook.wait_until_ready()
        compare(plane, root, world, webhook)


@contextmanager
def serving_loopback(plane: ControlPlane, root: Path, world: LargeWorld) -> Iterator[ClusterProcess]:
    """Our webhook with a certificate for 127.0.0.1, where the API server finds it."""
    certificate = certificate_authority().issue_cert("127.0.0.1", "localhost")
    files = {"webhook_tls_certificate": root / "webhook.crt", "webhook_tls_key": root / "webhook.key"}
    certificate.cert_chain_pems[0].write_to_path(files["webhook_tls_certificate"])
    certificate.private_key_pem.write_to_path(files["webhook_tls_key"])
    settings = {name: str(path) for name, path in files.items()}
    with cluster_process(plane, root / "webhook", "webhook", host=world.host, log_level="warning", **settings) as running:
        yield running


def compare(plane: ControlPlane, root: Path, world: LargeWorld, webhook: ClusterProcess) -> None:
    """Prints calls, mean, p99 and processor time of both. `webhook` is ready, and serves by `serving_loopback`."""
    with go_webhook(root / "peer", prefix=f"{world.registry}/", cores=None) as served:
        ours = Registered("ours", "akua webhook", Served(f"127.0.0.1:{webhook.port}", webhook.process.pid))
        peer = Registered("peer", "controller-runtime", served)
        _register(plane, ours, peer)
        asyncio.run(_create(plane, world, ours, CREATORS))
        asyncio.run(_create(plane, world, peer, CREATORS))
        for _ in range(ROUNDS):
            for each in (peer, ours):
                _round(plane, world, each)
        print(f"{'':20}{'calls':>8}{'mean ms':>10}{'p99 ms':>10}{'CPU ms each':>12}{'RSS MB':>9}   (the API server's own count)")
        for each in (peer, ours):
            each.show()


def _round(plane: ControlPlane, world: LargeWorld, each: Registered) -> None:
    before, used = _counted(plane, each.name), each.served.processor_seconds()
    asyncio.run(_create(plane, world, each, PODS))
    after = _counted(plane, each.name)
    each.processor += each.served.processor_seconds() - used
    each.buckets.update({bound: after[0][bound] - before[0][bound] for bound in after[0]})
    each.seconds += after[1] - before[1]


async def _create(plane: ControlPlane, world: LargeWorld, webhook: Registered, count: int) -> None:
    """Pods, 16 at a time, as dry runs: everything but the writing to etcd."""
    numbers = iter(range(count))
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"}

    async def creator() -> None:
        connection = Connection(int(plane.server.rpartition(":")[2]), trusting_anyone())
        for number in numbers:
            path, body = _pod(world, number, webhook.name)
            status, answer = await connection.request("POST", path, body, headers)
            if status != 201 or f"{world.host}/".encode() not in answer:
                raise RuntimeError(f"{webhook.title}: {status} {answer[:500]!r}")
        connection.close()

    await asyncio.gather(*(creator() for _ in range(CREATORS)))


def _pod(world: LargeWorld, number: int, label: str) -> tuple[str, bytes]:
    image, namespace = f"{world.registry}/{world.repository(number)}:1", world.targets(number % world.size.installs)[0]
    document = {"apiVersion": "v1", "kind": "Pod"} | pod(image, image)
    labels = world.pod_labels(number % world.size.installs) | {_LABEL: label}
    document["metadata"] = {"generateName": "web-", "labels": labels, "annotations": {"filler": _FILLER}}
    return f"/api/v1/namespaces/{namespace}/pods?dryRun=All", json.dumps(document).encode()


def _register(plane: ControlPlane, *webhooks: Registered) -> None:
    authority = base64.b64encode(certificate_authority().cert_pem.bytes()).decode()
    with api_requests(plane) as request:
        for each in webhooks:
            manifest = {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": f"{each.name}.bench.example"},
                "webhooks": [
                    {
                        "name": f"{each.name}.bench.example",
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                        "clientConfig": {"url": f"https://{each.served.authority}/mutate", "caBundle": authority},
                        "objectSelector": {"matchLabels": {_LABEL: each.name}},
                        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                    }
                ],
            }
            path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{each.name}.bench.example"
            request.apply(manifest, path)
    for each in webhooks:
        asyncio.run(_until_called(plane, each))


async def _until_called(plane: ControlPlane, webhook: Registered) -> None:
    """The API server takes up a registration some moments after it was written."""
    connection = Connection(int(plane.server.rpartition(":")[2]), trusting_anyone())
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"}
    body = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {_LABEL: webhook.name}}}).encode()
    async with asyncio.timeout(30):
        while not _counted(plane, webhook.name)[0]:
            await connection.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", body, headers)
            await asyncio.sleep(0.2)
    connection.close()


def _counted(plane: ControlPlane, name: str) -> tuple[Counter[float], float]:
    """Calls by upper bound in seconds, cumulative, and the seconds of all, so far."""
    text = api_server_metrics(plane)
    buckets: Counter[float] = Counter()
    for found, bound, count in _BUCKET.findall(text):
        if found == name:
            buckets[float(bound.replace("+Inf", "inf"))] += int(count)
    return buckets, sum(float(seconds) for found, seconds in _SUM.findall(text) if found == name)


def _quantile(buckets: Counter[float], quantile: float) -> float:
    """Seconds, interpolated within the bucket as PromQL's histogram_quantile does it."""
    rank, below, lower = buckets[float("inf")] * quantile, 0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / max(buckets[bound] - below, 1)
        below, lower = buckets[bound], bound
    return lower


if __name__ == "__main__":
    main()
