"""Whatever breaks while pods are created: none is admitted as it must not be, and afterwards everything is as before."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from tests.support.cluster import until
from tests.support.installation import SYSTEM, Installation
from tests.support.pod_storm import PodStorm
from tests.support.pull_loop import PullLoop
from tests.support.tenant import INSTALL, PATIENCE, Tenant, pod

LEASE = "akua-install-sync"
FAIL_CLOSED = "registry.akua.dev/fail-closed"


@pytest.fixture(autouse=True)
def as_before(installation: Installation) -> Iterator[None]:
    """Every test leaves all replicas ready."""
    yield
    installation.wait()


def leader(installation: Installation) -> str:
    """The pod that leads the install sync."""
    holder = installation.cluster.get("-n", SYSTEM, "lease", LEASE)["spec"].get("holderIdentity", "")
    return str(holder).rpartition("_")[0]


def webhooks(installation: Installation) -> list[str]:
    pods = installation.cluster.items("-n", SYSTEM, "pods", "-l", "app.kubernetes.io/name=akua-webhook")
    return [one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]]


def crash(installation: Installation, name: str) -> None:
    """SIGKILL to every process of a pod's containers."""
    found = installation.cluster.get("-n", SYSTEM, "pod", name)
    containers = [one["containerID"].rpartition("/")[2] for one in found["status"]["containerStatuses"]]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = any(container in (process / "cgroup").read_text() for container in containers)
        except OSError:
            continue  # it has ended meanwhile
        if inside:
            os.kill(int(process.name), signal.SIGKILL)


def sync_works(tenant: Tenant) -> None:
    """What the sync alone does: a change of the product reaches the namespace's grant."""
    pattern = f"{tenant.installation.registry.authority}/{tenant.name}-more/*"
    patch = [{"op": "add", "path": "/spec/repositories/-", "value": pattern}]
    tenant.in_workspace("patch", "product", "storefront", "--type=json", "-p", json.dumps(patch))
    until(
        lambda: pattern in tenant.kubectl("get", "pullgrant", INSTALL, "-o", "jsonpath={.spec.images}"),
        seconds=PATIENCE,
        why=lambda: tenant.installation.cluster.kubectl("-n", SYSTEM, "get", "lease,pods", check=False),
    )


def test_the_api_server_crashes_and_comes_back(tenant: Tenant) -> None:
    storm = PodStorm(tenant)
    storm.during(lambda: tenant.installation.cluster.restart("kube-apiserver", kill=True))
    assert storm.wrong() == []
    sync_works(tenant)


def test_etcd_is_restarted(tenant: Tenant) -> None:
    storm = PodStorm(tenant)
    storm.during(lambda: tenant.installation.cluster.restart("etcd"))
    assert storm.wrong() == []
    sync_works(tenant)


def test_the_leader_is_deleted(tenant: Tenant) -> None:
    before = leader(tenant.installation)
    assert before in webhooks(tenant.installation)
    storm = PodStorm(tenant)
    storm.during(lambda: tenant.installation.cluster.kubectl("-n", SYSTEM, "delete", "pod", before, "--wait=false"))
    assert storm.wrong() == []
    sync_works(tenant)
    assert leader(tenant.installation) not in ("", before)


def test_a_replica_that_does_not_lead_is_deleted(tenant: Tenant) -> None:
    (other,) = set(webhooks(tenant.installation)) - {leader(tenant.installation)}
    storm = PodStorm(tenant)
    storm.during(lambda: tenant.installation.cluster.kubectl("-n", SYSTEM, "delete", "pod", other, "--wait=false"))
    assert storm.wrong() == []


def test_the_leader_crashes(tenant: Tenant) -> None:
    """Requests that it was answering are lost with it; a namespace that fails closed refuses those pods instead."""
    tenant.installation.cluster.kubectl("label", "namespace", tenant.namespace, f"{FAIL_CLOSED}=true")
    closed = fails_closed(tenant)
    before = leader(tenant.installation)
    storm = PodStorm(closed)
    storm.during(lambda: crash(tenant.installation, before))
    assert storm.wrong() == []
    sync_works(tenant)


def fails_closed(tenant: Tenant) -> Tenant:
    """The same tenant, once the policy is in force: the API server takes a moment to compile it."""
    manifest = pod("bare", tenant.image("web"))
    manifest["metadata"]["labels"] = {"registry.akua.dev/part": "none"}  # which the webhook leaves alone
    command = ("-n", tenant.namespace, "create", "-f", "-", "--dry-run=server")
    until(
        lambda: "fails closed" in tenant.installation.cluster.run(*command, input=json.dumps(manifest)).stderr, seconds=PATIENCE
    )
    return tenant


def test_certificates_are_rotated(tenant: Tenant) -> None:
    """A new serving certificate for both servers, and a second CA: whoever trusts the bundle trusts what is served."""
    cluster = tenant.installation.cluster

    def serials() -> set[int]:
        secrets = (cluster.get("-n", SYSTEM, "secret", name) for name in ("akua-webhook-tls", "akua-proxy-tls"))
        served = (base64.b64decode(secret["data"]["tls.crt"]) for secret in secrets)
        return {x509.load_pem_x509_certificate(certificate).serial_number for certificate in served}

    def authorities(text: str) -> int:
        return text.count("BEGIN CERTIFICATE")

    def published() -> list[int]:
        """How many CAs the ConfigMap, the webhook's registration and this node trust."""
        registration = cluster.get("mutatingwebhookconfiguration", "akua-webhook")["webhooks"][0]
        bundle = base64.b64decode(registration["clientConfig"]["caBundle"]).decode()
        on_node = (cluster.certs_d / "oci.akua.dev" / "ca.crt").read_text()
        return [
            authorities(text) for text in (cluster.get("-n", SYSTEM, "configmap", "akua-ca")["data"]["ca.crt"], bundle, on_node)
        ]

    before, trusted = serials(), published()

    def rotate() -> None:
        for secret in ("akua-ca", "akua-webhook-tls", "akua-proxy-tls"):
            cluster.kubectl("-n", SYSTEM, "annotate", "secret", secret, "registry.akua.dev/rotate-requested=now")
        until(lambda: not serials() & before, seconds=PATIENCE)

    storm = PodStorm(tenant)
    with PullLoop(tenant, tenant.image("web")) as loop:
        storm.during(rotate)
        until(lambda: published() == [count + 1 for count in trusted], seconds=PATIENCE, why=lambda: str(published()))
        loop.wait_for_pulls(2)
    assert storm.wrong() == []
    assert loop.failures == []


def test_a_watch_that_fell_behind_reads_everything_anew(tenant: Tenant) -> None:
    """etcd forgets its history and the API server comes back without its own: every watch begins at a 410."""
    installation = tenant.installation
    with httpx.Client(base_url=installation.cluster.etcd_endpoint(), trust_env=False, timeout=30) as etcd:
        revision = etcd.post("/v3/kv/range", json={"key": base64.b64encode(b"x").decode()}).json()["header"]["revision"]
        storm = PodStorm(tenant)

        def forget() -> None:
            etcd.post("/v3/kv/compaction", json={"revision": revision, "physical": True}).raise_for_status()
            installation.cluster.restart("kube-apiserver", kill=True)

        storm.during(forget)
    assert storm.wrong() == []
    logs = [
        installation.cluster.kubectl("-n", SYSTEM, "logs", pod, "--since=10m", check=False) for pod in system_pods(installation)
    ]
    fell_behind = [log for log in logs if "the watch fell behind what the server remembers" in log]
    assert fell_behind, "no watch saw a 410"
    sync_works(tenant)
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", '{"spec":{"revoked":true}}')
    until(lambda: set(installation.ask_proxies(tenant.image("web"), tenant.authorization())) == {403}, seconds=PATIENCE)


def system_pods(installation: Installation) -> list[str]:
    return installation.cluster.kubectl("-n", SYSTEM, "get", "pods", "-l", "registry.akua.dev/part", "-o", "name").split()


def test_a_webhook_starts_without_the_database_of_the_trail(tenant: Tenant) -> None:
    """Admission needs none; what it did is recorded when the database can be reached again."""
    cluster = tenant.installation.cluster

    def select(name: str) -> None:
        """Which pods the database's Service leads to; nobody is told to connections that stand."""
        patch = json.dumps({"spec": {"selector": {"app.kubernetes.io/name": name}}})
        cluster.kubectl("-n", SYSTEM, "patch", "service", "akua-postgresql", "-p", patch)

    select("nobody")
    try:
        cluster.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/akua-webhook")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/akua-webhook", "--timeout=100s")
        assert tenant.admitted(tenant.image("web")) == tenant.proxied("web")
        tenant.start("meanwhile", tenant.image("web"))
        tenant.wait_for("meanwhile", "Running")
    finally:
        select("akua-postgresql")
    recorded = f"{tenant.namespace}/meanwhile"
    until(lambda: [row for row in tenant.audit() if row["pod"] == recorded], seconds=PATIENCE)


def test_no_webhook_at_all(tenant: Tenant, namespace: str) -> None:
    """Pods are created as they were written, so that a cluster can always start; where it fails closed, they are refused."""
    installation, cluster = tenant.installation, tenant.installation.cluster
    closed = namespace
    cluster.kubectl("label", "namespace", closed, f"{FAIL_CLOSED}=true")
    cluster.kubectl("annotate", "namespace", closed, f"registry.akua.dev/workspaces={tenant.workspace}")
    targets = json.dumps({"spec": {"targets": [{"namespace": tenant.namespace}, {"namespace": closed}]}})
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", targets)
    until(lambda: cluster.kubectl("-n", closed, "get", "pullgrants", "-o", "name"), seconds=PATIENCE)
    image = tenant.image("web")

    def create(where: str) -> tuple[dict[str, Any] | None, str]:
        done = cluster.run(
            "-n", where, "create", "-f", "-", "--dry-run=server", "-o", "json", input=json.dumps(pod("web", image))
        )
        return (None if done.returncode else json.loads(done.stdout)), done.stderr

    cluster.kubectl("-n", SYSTEM, "scale", "deployment/akua-webhook", "--replicas=0")
    try:
        until(lambda: not webhooks(installation), seconds=PATIENCE)
        until(lambda: image_of(create(tenant.namespace)[0]) == image, seconds=PATIENCE)
        found, said = create(closed)
        assert found is None
        plain = image.rpartition(":")[0]
        assert re.search(rf"fails closed .*{re.escape(plain)} was not rewritten as pull grant {INSTALL} says", said), said
    finally:
        cluster.kubectl("-n", SYSTEM, "scale", "deployment/akua-webhook", "--replicas=2")
    for where in (tenant.namespace, closed):
        until(lambda where=where: image_of(create(where)[0]) == installation.proxied(image), seconds=PATIENCE)  # type: ignore[misc]


def image_of(found: dict[str, Any] | None) -> str:
    return str(found["spec"]["containers"][0]["image"]) if found else ""
