"""`akua doctor` on a real API server with real processes: what is well, what is broken on purpose, and who may see what."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.doctor.cluster import order
from control.doctor.cluster.order import cluster_checks
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from registry_access.settings import load_settings
from registry_access.state.kubernetes.client.access import ClusterAccess
from tests.support.akua_process import AKUA
from tests.support.cluster import until
from tests.support.cluster_process import ClusterProcess, cluster_process
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.kustomize import built
from tests.support.pods import pod_manifest

API = "registry.akua.dev/v1alpha1"
HOST = "oci.akua.invalid"  # resolves nowhere
Found = dict[str, tuple[str, str]]


def workspace() -> list[dict[str, Any]]:
    """acme with a credential, a product, and the install shop that goes to shop-prod."""
    label, takes = {"registry.akua.dev/workspace": "true"}, {"registry.akua.dev/workspaces": "acme"}
    metadata = {"namespace": "acme"}
    credential = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}
    install = {"product": "storefront", "targets": [{"namespace": "shop-prod", "podSelector": {"matchLabels": {"app": "shop"}}}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme", "labels": label}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop-prod", "annotations": takes}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata | {"name": "ghcr"},
            "stringData": {"username": "robot", "password": "canary-password"},
        },
        {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata | {"name": "ghcr"}, "spec": credential},
        {
            "apiVersion": API,
            "kind": "Product",
            "metadata": metadata | {"name": "storefront"},
            "spec": {"repositories": ["ghcr.io/acme/*"]},
        },
        {"apiVersion": API, "kind": "Install", "metadata": metadata | {"name": "shop"}, "spec": install},
    ]


class Cluster:
    """An installation without nodes: what a node would report is written by hand."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.webhook: ClusterProcess
        self.proxy: ClusterProcess

    def apply(self, *manifests: dict[str, Any]) -> None:
        documents = yaml.safe_dump_all(manifests)
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=tests", "-f", "-", input=documents)

    def status(self, kind: str, namespace: str, name: str, **status: int) -> None:
        patch = json.dumps({"status": status})
        where = ("--namespace", namespace, "--subresource=status", "--type=merge")
        self.plane.kubectl("patch", kind, name, *where, "--patch", patch)

    def deployed(self, name: str, ready: int) -> None:
        self.plane.kubectl("scale", "deployment", name, "--namespace", "akua-system", "--replicas=1")
        self.status("deployment", "akua-system", name, replicas=1, readyReplicas=ready)

    def endpoints(self, service: str, *, ready: bool) -> None:
        metadata = {"name": service, "namespace": "akua-system", "labels": {"kubernetes.io/service-name": service}}
        endpoints = [{"addresses": ["10.1.0.1"], "conditions": {"ready": ready}}]
        ports = [{"port": 443, "protocol": "TCP"}]
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        self.apply(kind | {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports})

    def told_nodes(self, ready: int) -> None:
        counts = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": ready}
        self.status("daemonset", "akua-node-trust", "akua-node-trust", **counts)

    def register(self, client: dict[str, Any]) -> None:
        operation = [{"op": "replace", "path": "/webhooks/0/clientConfig", "value": client}]
        name = ("mutatingwebhookconfiguration", "akua-webhook")
        self.plane.kubectl("patch", *name, "--type=json", "--patch", json.dumps(operation))

    def ca_bundle(self) -> str:
        path = "jsonpath={.webhooks[0].clientConfig.caBundle}"
        return self.plane.kubectl("get", "mutatingwebhookconfiguration", "akua-webhook", "-o", path)

    def account(self, namespace: str, name: str) -> Path:
        """A kubeconfig of a ServiceAccount's."""
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        token = self.plane.kubectl("create", "token", name, "--namespace", namespace).strip()
        config["users"][0]["user"] = {"token": token}
        file = self.folder / f"{name}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    def doctor(self, *arguments: str, kubeconfig: Path | None = None, host: str = HOST) -> tuple[int, Found, str]:
        """Exit code, findings by name, and all that was said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AKUA_", "KUBE"))}
        environment |= {"AKUA_STATE": "kubernetes", "AKUA_HOST": host, "KUBECONFIG": str(kubeconfig or self.plane.kubeconfig)}
        command = [str(AKUA), "doctor", "-o", "json", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.stdout, done.stderr
        found = {item["check"]: (item["finding"], item["detail"]) for item in json.loads(done.stdout)}
        return done.returncode, found, done.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("doctor")
    with ExitStack() as stack:
        plane = stack.enter_context(running_control_plane(folder))
        made = Cluster(plane, folder)
        manifests = built("base+node-trust", f"AKUA_HOST={HOST}")
        made.apply(*(each for each in manifests if each["kind"] == "Namespace"))
        made.apply(*manifests)
        made.apply(*workspace())
        made.webhook = stack.enter_context(cluster_process(plane, folder / "webhook", "webhook", host=HOST))
        trail = f"sqlite:///{folder}/audit.db"
        made.proxy = stack.enter_context(cluster_process(plane, folder / "proxy", "proxy", host=HOST, audit_dsn=trail))
        for process in (made.webhook, made.proxy):
            process.wait_until_ready()
        made.register({"url": f"https://127.0.0.1:{made.webhook.port}/mutate"})
        until(lambda: bool(made.ca_bundle()))
        for name in ("akua-webhook", "akua-proxy"):
            made.deployed(name, ready=1)
            made.endpoints(name, ready=True)
        made.told_nodes(1)
        synced = "jsonpath={.status.targets[0].synced}"
        until(lambda: plane.kubectl("get", "install", "shop", "--namespace", "acme", "-o", synced) == "true")
        yield made


def test_an_installation_that_is_well_has_nothing_bad(cluster: Cluster) -> None:
    until(lambda: cluster.doctor()[1]["trial pod shop-prod"][0] == "good")
    code, found, said = cluster.doctor()
    names = {finding: {name for name, (each, _) in found.items() if each == finding} for finding in ("good", "warning", "bad")}
    assert (code, names["bad"]) == (0, set()), said
    # What is not as in a cluster with nodes: no way to the Service from here, and a registration that leads to a process.
    assert names["warning"] == {"route", "registration pods.registry.akua.dev"}
    assert names["good"] >= {
        "cluster",
        "name",
        "node-trust",
        "deployment akua-webhook",
        "service akua-proxy",
        "trial pod shop-prod",
        "certificate akua-ca",
        "certificate akua-webhook-tls",
        "certificate akua-proxy-tls",
        "clock",
        "rights",
        "rights acme",
        "rights akua-proxy",
        "rights akua-webhook",
        "workspaces",
        "freshness installs",
        "freshness namespaces",
        "freshness products",
        "freshness pullgrants",
        "freshness registrycredentials",
        "leader",
        "credential acme/ghcr",
        "install acme/shop",
    }
    assert "becomes oci.akua.invalid/ghcr.io/acme/" in found["trial pod shop-prod"][1]
    assert "akua audit verify" in found["audit trail"][1]
    assert "canary" not in said
    assert "PRIVATE" not in said


def test_a_pod_that_came_past_the_webhook_is_named(cluster: Cluster) -> None:
    labels = {"app": "shop", "registry.akua.dev/part": "proxy"}  # as our own pods, which the webhook is not asked about
    pod = pod_manifest("ghcr.io/acme/web:1", namespace="shop-prod", labels=labels)
    pod["metadata"]["name"] = "slipped"
    cluster.plane.kubectl("create", "serviceaccount", "default", "--namespace", "shop-prod", check=False)
    cluster.plane.kubectl("create", "-f", "-", input=json.dumps(pod))
    cluster.plane.kubectl("label", "pod", "slipped", "--namespace", "shop-prod", "registry.akua.dev/part-")
    finding, detail = cluster.doctor()[1]["pods"]
    cluster.plane.kubectl("delete", "pod", "slipped", "--namespace", "shop-prod", "--force")
    assert (finding, detail.partition(" run ")[0]) == ("warning", "shop-prod/slipped"), detail


def test_a_member_of_a_workspace_is_told_what_they_may_not_see(cluster: Cluster) -> None:
    cluster.plane.kubectl("create", "serviceaccount", "bob", "--namespace", "acme")
    binding = ("rolebinding", "bob", "--clusterrole=edit", "--serviceaccount=acme:bob", "--namespace", "acme")
    cluster.plane.kubectl("create", *binding)
    bob = cluster.account("acme", "bob")
    # The roles that edit is made of are put together by a controller, which a control plane alone has not.
    cluster.plane.kubectl("create", "rolebinding", "bob-2", "--clusterrole=akua-workspace-edit", *binding[3:])
    cluster.plane.kubectl("create", "rolebinding", "bob-3", "--clusterrole=akua-workspace-view", *binding[3:])
    cluster.plane.kubectl("create", "clusterrole", "reads-secrets", "--verb=list,create,patch", "--resource=secrets")
    cluster.plane.kubectl("create", "rolebinding", "bob-4", "--clusterrole=reads-secrets", *binding[3:])
    code, found, said = cluster.doctor("--workspace", "acme", kubeconfig=bob)
    assert code == 0, said
    assert found["install acme/shop"][0] == found["credential acme/ghcr"][0] == found["rights acme"][0] == "good"
    assert found["rights"][0] == "warning"
    for name in ("leader", "deployment akua-proxy", "registration", "rights akua-proxy", "trial pod", "freshness installs"):
        assert found[name][0] == "unseen", name
        assert "not allowed" in found[name][1], name


async def test_from_a_pod_it_sees_what_the_pods_account_may(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = yaml.safe_load(cluster.account("akua-system", "akua-proxy").read_text())
    bearer = str(kubeconfig["users"][0]["user"]["token"])

    async def token() -> str:
        return bearer

    async def access(_: object) -> ClusterAccess:
        admin = cluster.plane.access()
        return ClusterAccess(admin.server, admin.tls, token, admin.tls_server_name)

    monkeypatch.setattr(order, "cluster_access", access)
    environment = {"AKUA_STATE": "kubernetes", "AKUA_HOST": HOST, "AKUA_AUDIT_DSN": f"sqlite:///{cluster.folder}/audit.db"}
    settings = load_settings(environment | {"AKUA_OPERATIONS_ADDRESS": cluster.proxy.operations})
    checks = [check async for check in cluster_checks(settings, environment | {"KUBERNETES_SERVICE_HOST": "10.96.0.1"})]
    found = {check.name: (str(check.finding), check.detail) for check in checks}
    assert {name for name, (finding, _) in found.items() if finding == "bad"} == set(), found
    assert found["audit trail"][0] == found["server"][0] == found["clock"][0] == "good"
    assert found["install acme/shop"][0] == found["credential acme/ghcr"][0] == "good"
    assert found["freshness installs"][0] == "good"
    assert found["leader"][0] == found["registration"][0] == "unseen"
    assert "rights" not in found


def test_what_is_broken_on_purpose_is_found(cluster: Cluster) -> None:
    kubectl = cluster.plane.kubectl
    cluster.webhook.stop()
    cluster.proxy.stop()
    other = CertificateAuthority.new("other", 10).pair.certificate.decode()
    kubectl("patch", "configmap", "akua-ca", "-n", "akua-system", "--patch", yaml.safe_dump({"data": {"ca.crt": other}}))
    service = {"namespace": "akua-system", "name": "akua-webhook", "path": "/mutate"}
    cluster.register({"service": service, "caBundle": cluster.ca_bundle()})
    kubectl("delete", "secret", "akua-proxy-tls", "-n", "akua-system")
    kubectl("delete", "secret", "ghcr", "-n", "acme")
    kubectl("delete", "rolebinding", "akua-proxy", "-n", "acme")
    kubectl("delete", "clusterrolebinding", "akua-proxy")
    kubectl("delete", "product", "storefront", "-n", "acme")
    cluster.deployed("akua-proxy", ready=0)
    cluster.endpoints("akua-proxy", ready=False)
    cluster.told_nodes(0)
    code, found, said = cluster.doctor(host="other.example")
    bad = {name for name, (finding, _) in found.items() if finding == "bad"}
    assert code == 1
    assert bad == {
        "node-trust",
        "deployment akua-proxy",
        "service akua-proxy",
        "registration pods.registry.akua.dev",
        "trial pod shop-prod",
        "certificate akua-proxy-tls",
        "rights akua-proxy",
        "workspace acme",
        "freshness installs",
        "freshness namespaces",
        "freshness products",
        "freshness pullgrants",
        "freshness registrycredentials",
        "leader",
        "credential acme/ghcr",
        "install acme/shop",
    }, said
    assert found["settings"][0] == "warning"
    assert found["settings"][1].startswith(f"AKUA_HOST is other.example here but {HOST} at the proxy")
    assert "is not the CA in ConfigMap akua-ca" in found["registration pods.registry.akua.dev"][1]
    for name in bad:
        assert any(mark in found[name][1] for mark in (";", ":")), f"{name} says no way out"


def test_a_cluster_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    code, found, _ = cluster.doctor(kubeconfig=file)
    assert (code, set(found)) == (1, {"settings", "cluster"})
    assert "cannot be reached" in found["cluster"][1]
