"""Certificates in a cluster: real processes with the rights of the manifests, and an API server that calls them all the while."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from registry_access.model.errors import AkuaError
from registry_access.runtime.tls.certificate_authority import certificates_in, has_issued
from registry_access.state.kubernetes import KubernetesApi
from tests.support.cluster import until
from tests.support.cluster_process import ClusterProcess, cluster_process, install_rights
from tests.support.kubernetes import ControlPlane, running_control_plane

HOST = "oci.akua.dev"
ROTATE = "registry.akua.dev/rotate-requested"
GRANT = {
    "apiVersion": "registry.akua.dev/v1alpha1",
    "kind": "PullGrant",
    "metadata": {"name": "shop", "namespace": "shop-prod"},
    "spec": {"host": HOST, "images": ["ghcr.io/acme/app"], "pullSecret": "akua-pull-shop"},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "web-"},
    "spec": {"containers": [{"name": "web", "image": "ghcr.io/acme/app:1"}]},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("certificates")) as running:
        install_rights(running)
        running.kubectl("create", "namespace", "shop-prod")
        apply(running, GRANT)
        port = {"port": 443, "targetPort": 15000}
        service = {"metadata": {"name": "akua-proxy", "namespace": "akua-system"}, "spec": {"ports": [port]}}
        apply(running, {"apiVersion": "v1", "kind": "Service", **service})
        yield running


@pytest.fixture(scope="module")
def webhooks(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterProcess]]:
    """Two replicas, each called by an entry of its own, without which no pod can be made."""
    folder = tmp_path_factory.mktemp("webhooks")
    with cluster_process(plane, folder / "a", "webhook") as first, cluster_process(plane, folder / "b", "webhook") as second:
        apply(plane, configuration(first, second))
        for replica in (first, second):
            replica.wait_until_ready()
        until(lambda: all(ca_bundles(plane)))
        until(
            lambda: (
                HOST
                in plane.kubectl(
                    "-n", "shop-prod", "create", "--dry-run=server", "-o", "yaml", "-f", "-", input=json.dumps(POD), check=False
                )
            )
        )
        yield [first, second]


def configuration(*replicas: ClusterProcess) -> dict[str, Any]:
    entries = [
        {
            "name": f"replica-{number}.akua.dev",
            "clientConfig": {"url": f"https://127.0.0.1:{replica.port}/mutate"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        for number, replica in enumerate(replicas)
    ]
    version = "admissionregistration.k8s.io/v1"
    return {
        "apiVersion": version,
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "akua-webhook"},
        "webhooks": entries,
    }


def apply(plane: ControlPlane, manifest: dict[str, Any]) -> None:
    plane.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))


def get(plane: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        plane.kubectl("-n", "akua-system", "get", kind, name, "-o", "json", "--ignore-not-found") or "{}"
    )
    return found


def data(plane: ControlPlane, name: str) -> dict[str, bytes]:
    return {entry: base64.b64decode(value) for entry, value in get(plane, "secret", name).get("data", {}).items()}


def published(plane: ControlPlane) -> bytes:
    return str(get(plane, "configmap", "akua-ca").get("data", {}).get("ca.crt", "")).encode()


def ca_bundles(plane: ControlPlane) -> list[bytes]:
    webhooks = get(plane, "mutatingwebhookconfiguration", "akua-webhook")["webhooks"]
    return [base64.b64decode(webhook["clientConfig"].get("caBundle", "")) for webhook in webhooks]


def rotate(plane: ControlPlane, name: str) -> None:
    plane.kubectl("-n", "akua-system", "annotate", "secret", name, f"{ROTATE}=now")


def names_in(certificate: bytes) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(item.value) for item in found}


def let_time_pass(plane: ControlPlane, seconds_ago: int) -> None:
    """As if the newest CA had begun to sign so many seconds ago."""
    times = json.loads(data(plane, "akua-ca")["times.json"])
    newest = max(times, key=lambda name: times[name])
    times[newest] = int(time.time()) - seconds_ago
    patch = {"data": {"times.json": base64.b64encode(json.dumps(times).encode()).decode()}}
    plane.kubectl("-n", "akua-system", "patch", "secret", "akua-ca", "--type=merge", "-p", json.dumps(patch))


@dataclass
class Load:
    """What happened to pods that were made, and to TLS clients that trust what the API server is told to trust."""

    pods: int = 0
    handshakes: int = 0
    failed: list[str] = field(default_factory=list)

    async def make_pods(self, api: KubernetesApi) -> None:
        while True:
            try:
                pod = await api.request("POST", "/api/v1/namespaces/shop-prod/pods", body=POD, query={"dryRun": "All"})
                image = pod["spec"]["containers"][0]["image"]
                if not image.startswith(HOST):
                    self.failed.append(f"not rewritten: {image}")
            except AkuaError as error:
                self.failed.append(str(error))
            self.pods += 1
            await asyncio.sleep(0.02)

    async def shake_hands(self, api: KubernetesApi, port: int) -> None:
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/akua-webhook"
        while True:
            found = await api.request("GET", path)
            context = ssl.create_default_context(
                cadata=base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]).decode()
            )
            for _ in range(5):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                    writer.close()
                except (OSError, ssl.SSLError) as error:
                    self.failed.append(f"handshake: {error}")
                self.handshakes += 1
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def under_load(plane: ControlPlane, replicas: list[ClusterProcess]) -> AsyncIterator[Load]:
    load, api = Load(), KubernetesApi(plane.access())
    tasks = [asyncio.create_task(load.make_pods(api)) for _ in range(2)]
    tasks += [asyncio.create_task(load.shake_hands(api, replica.port)) for replica in replicas]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await api.close()


def test_one_leader_makes_what_both_serve_with(plane: ControlPlane, webhooks: list[ClusterProcess]) -> None:
    bundle = published(plane)
    assert ca_bundles(plane) == [bundle, bundle]
    assert len(certificates_in(bundle)) == 1
    for name in ("akua-webhook-tls", "akua-proxy-tls"):
        secret, entries = get(plane, "secret", name), data(plane, name)
        assert secret["type"] == "kubernetes.io/tls"
        assert set(entries) == {"tls.crt", "tls.key", "ca.crt"}
        assert entries["ca.crt"] == bundle
        assert has_issued(bundle, entries["tls.crt"])
    address = get(plane, "service", "akua-proxy")["spec"]["clusterIP"]
    assert names_in(data(plane, "akua-proxy-tls")["tls.crt"]) >= {HOST, "akua-proxy.akua-system.svc", address}
    assert "akua-webhook.akua-system.svc" in names_in(data(plane, "akua-webhook-tls")["tls.crt"])
    made = [replica for replica in webhooks if "created a CA" in replica.logs()]
    assert len(made) == 1
    for replica in webhooks:
        context = ssl.create_default_context(cadata=bundle.decode())
        served = ssl.get_server_certificate(("127.0.0.1", replica.port))
        assert x509.load_pem_x509_certificate(served.encode()) == x509.load_pem_x509_certificate(
            data(plane, "akua-webhook-tls")["tls.crt"]
        )
        assert context.cert_store_stats()["x509_ca"] == 1
        key = replica.folder / ".akua" / "tls" / "webhook.key"
        assert key.stat().st_mode & 0o777 == 0o600
        assert "PRIVATE KEY" not in replica.logs()


async def test_rotations_cost_no_call(plane: ControlPlane, webhooks: list[ClusterProcess]) -> None:
    first_ca = published(plane)

    def rotated(before: bytes) -> bool:
        return data(plane, "akua-webhook-tls")["tls.crt"] != before

    async with under_load(plane, webhooks) as load:
        for _ in range(3):
            before = data(plane, "akua-webhook-tls")["tls.crt"]
            await asyncio.to_thread(rotate, plane, "akua-webhook-tls")
            await asyncio.to_thread(until, lambda before=before: rotated(before))
        before = data(plane, "akua-webhook-tls")["tls.crt"]
        await asyncio.to_thread(rotate, plane, "akua-ca")
        await asyncio.to_thread(until, lambda: [len(certificates_in(each)) for each in ca_bundles(plane)] == [2, 2])
        both = certificates_in(published(plane))
        assert not rotated(before), "it is trusted before it signs"
        await asyncio.sleep(1)
        await asyncio.to_thread(let_time_pass, plane, 0)
        await asyncio.to_thread(until, lambda: rotated(before))
        assert has_issued(both[1], data(plane, "akua-webhook-tls")["tls.crt"])
        assert has_issued(both[1], data(plane, "akua-proxy-tls")["tls.crt"])
        await asyncio.sleep(1)
        assert len(certificates_in(published(plane))) == 2, "for those who have not taken up the new certificate yet"
        await asyncio.to_thread(let_time_pass, plane, 3700)
        await asyncio.to_thread(until, lambda: ca_bundles(plane) == [both[1], both[1]])
        await asyncio.sleep(1)
    assert load.failed == []
    assert load.pods > 50
    assert load.handshakes > 50
    assert published(plane) == both[1]
    assert first_ca not in certificates_in(data(plane, "akua-webhook-tls")["ca.crt"])


async def test_what_is_changed_or_deleted_by_hand_is_put_right(plane: ControlPlane, webhooks: list[ClusterProcess]) -> None:
    good = published(plane)
    async with under_load(plane, webhooks) as load:
        before = data(plane, "akua-webhook-tls")["tls.crt"]
        await asyncio.to_thread(plane.kubectl, "-n", "akua-system", "delete", "secret", "akua-webhook-tls", "akua-proxy-tls")
        await asyncio.to_thread(plane.kubectl, "-n", "akua-system", "delete", "configmap", "akua-ca")
        await asyncio.to_thread(until, lambda: data(plane, "akua-webhook-tls").get("tls.crt", before) != before)
        await asyncio.to_thread(until, lambda: data(plane, "akua-proxy-tls") and published(plane) == good)
        await asyncio.to_thread(plane.kubectl, "-n", "akua-system", "delete", "secret", "akua-ca")
        await asyncio.to_thread(until, lambda: good in certificates_in(published(plane)) != [good])
        await asyncio.sleep(1)
    assert load.failed == []
    apply(plane, configuration(*webhooks))
    patch = [{"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": base64.b64encode(good).decode()}]
    plane.kubectl("patch", "mutatingwebhookconfiguration", "akua-webhook", "--type=json", "-p", json.dumps(patch))
    until(lambda: ca_bundles(plane) == [published(plane)] * 2)


async def test_the_proxy_serves_with_what_the_leader_made(
    plane: ControlPlane, webhooks: list[ClusterProcess], tmp_path: Path
) -> None:
    with cluster_process(plane, tmp_path, "proxy", host=HOST) as proxy:
        proxy.wait_until_ready()
        context = ssl.create_default_context(cadata=published(plane).decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context, server_hostname=HOST)
        writer.write(f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 401")
        writer.close()


def test_without_a_certificate_a_proxy_is_not_ready(plane: ControlPlane, tmp_path: Path) -> None:
    """Of an address that nobody has: nothing is served with the certificate that holds the place, and /readyz says why."""
    plane.kubectl("-n", "akua-system", "label", "secret", "akua-proxy-tls", "app.kubernetes.io/managed-by-")
    saved = get(plane, "secret", "akua-proxy-tls")
    spoilt = {"data": {"tls.key": data_of(b"nonsense")}}
    plane.kubectl("-n", "akua-system", "patch", "secret", "akua-proxy-tls", "--type=merge", "-p", json.dumps(spoilt))
    with cluster_process(plane, tmp_path, "proxy", host=HOST) as proxy:
        until(lambda: list(proxy.failures()) == ["certificate"])
        assert "akua-proxy-tls cannot be used" in proxy.failures()["certificate"]
        good = {"data": {"tls.key": saved["data"]["tls.key"]}}
        plane.kubectl("-n", "akua-system", "patch", "secret", "akua-proxy-tls", "--type=merge", "-p", json.dumps(good))
        proxy.wait_until_ready()


def test_the_next_leader_goes_on(plane: ControlPlane, webhooks: list[ClusterProcess]) -> None:
    first = next(replica for replica in webhooks if "created a CA" in replica.logs())
    first.stop()
    plane.kubectl("-n", "akua-system", "delete", "secret", "akua-webhook-tls")
    until(lambda: data(plane, "akua-webhook-tls"), seconds=40)


def data_of(value: bytes) -> str:
    return base64.b64encode(value).decode()
