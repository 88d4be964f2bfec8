"""Who still runs what came through an install, or is pulled with a credential, asked of a real API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.install import pod_search
from control.session import Session
from registry_access.settings import load_settings
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.kubernetes.kubeconfig.foreign import foreign_access
from tests.integration.test_install_sync import namespaces
from tests.integration.test_remote_removal import send_far
from tests.integration.test_resync import akua
from tests.support.install_sync import manifest
from tests.support.kubernetes import ControlPlane, control_plane, running_control_plane
from tests.unit.webhook.test_attribution import admitted, pod

__all__ = ["control_plane"]
SPACES = ("shop-prod", "shop-old", "blog-prod")


def runs(plane: ControlPlane, namespace: str, name: str, image: str, install: str) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-abc", "uid": "u-1", "controller": True}
    made = admitted(pod(image, namespace=namespace, ownerReferences=[owner], labels={"pod-template-hash": "abc"}), install)
    made["metadata"]["name"] = f"{name}-abc-1"
    made["spec"]["nodeName"] = "node-7"
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Pod", **made}))


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    namespaces(control_plane, "acme", "akua-system", *SPACES)
    for name in ("shop", "blog"):
        spec: dict[str, Any] = {"repositories": ["ghcr.io/acme/*"], "targets": [{"namespace": f"{name}-prod"}]}
        apply(control_plane, manifest("Install", name, spec))
    for name, prefixes in (("ghcr", ["acme/*"]), ("charts", ["acme/charts/*"]), ("rest", [])):
        spec = {"registry": "ghcr.io", "type": "Token", "secretName": name, "repositories": prefixes}
        apply(control_plane, manifest("RegistryCredential", name, spec))
    runs(control_plane, "shop-prod", "web", "ghcr.io/acme/web:1", "shop")
    runs(control_plane, "shop-prod", "charts", "ghcr.io/acme/charts/x:1", "shop")
    runs(control_plane, "shop-old", "web", "ghcr.io/acme/web:0", "shop")
    runs(control_plane, "blog-prod", "blog", "ghcr.io/acme/blog:1", "blog")
    plain = {"apiVersion": "v1", "kind": "Pod", **pod("redis", namespace="shop-prod")}
    apply(control_plane, plain)
    yield control_plane
    control_plane.kubectl("-n", "acme", "delete", "installs,registrycredentials", "--all")
    for space in SPACES:
        control_plane.kubectl("-n", space, "delete", "pods,pullgrants", "--all", "--force", "--grace-period=0")


def apply(plane: ControlPlane, made: dict[str, Any]) -> None:
    plane.kubectl("apply", "-f", "-", input=json.dumps(made))


def shown(out: str) -> list[str]:
    """Namespace and pod of each line."""
    return ["/".join(line.split()[:2]) for line in out.splitlines()[1:]]


async def test_the_pods_of_an_install(cluster: ControlPlane) -> None:
    code, out, err = await akua(cluster, "install", "pods", "shop")
    assert code == 0, err
    assert shown(out) == ["shop-prod/charts-abc-1", "shop-prod/web-abc-1"]
    assert "Deployment/web" in out
    assert "node-7" in out
    assert "ghcr.io/acme/web:1" in out
    assert err == ""
    cluster.kubectl("-n", "acme", "patch", "install", "shop", "--type", "merge", "-p", '{"spec": {"revoked": true}}')
    code, out, err = await akua(cluster, "install", "pods", "shop", "--everywhere", "-o", "json")
    found = json.loads(out)
    assert (code, found["state"]) == (0, "revoked")
    assert [f"{each['namespace']}/{each['pod']}" for each in found["pods"]] == [
        "shop-old/web-abc-1",
        "shop-prod/charts-abc-1",
        "shop-prod/web-abc-1",
    ]
    _, _, err = await akua(cluster, "install", "pods", "shop")
    assert "install shop is revoked: these pods keep running" in err


async def test_an_install_that_is_gone_is_looked_for_everywhere(cluster: ControlPlane) -> None:
    cluster.kubectl("-n", "acme", "delete", "install", "shop")
    code, out, err = await akua(cluster, "install", "pods", "shop")
    assert code == 0
    assert len(shown(out)) == 3
    assert "install shop is deleted" in err
    code, _, err = await akua(cluster, "install", "pods", "shpo")
    assert (code, "known: blog" in err) == (1, True)


async def test_another_workspaces_install_of_that_name_is_another(cluster: ControlPlane) -> None:
    grant = manifest(
        "PullGrant", "shop", {"host": "oci.akua.dev", "images": ["a.io/b"], "pullSecret": "akua-pull-shop"}, "shop-old"
    )
    grant["metadata"]["labels"] = {"registry.akua.dev/install-workspace": "other"}
    apply(cluster, grant)
    _, out, _ = await akua(cluster, "install", "pods", "shop", "--everywhere")
    assert shown(out) == ["shop-prod/charts-abc-1", "shop-prod/web-abc-1"]


async def test_the_pods_of_a_credential_by_the_longest_prefix(cluster: ControlPlane) -> None:
    cluster.kubectl("-n", "acme", "patch", "install", "blog", "--type", "merge", "-p", '{"spec": {"revoked": true}}')
    cluster.kubectl("-n", "acme", "patch", "rcred", "ghcr", "--type", "merge", "-p", '{"spec": {"disabled": true}}')
    code, out, err = await akua(cluster, "credential", "usage", "ghcr")
    assert code == 0, err
    assert shown(out) == ["blog-prod/blog-abc-1", "shop-prod/web-abc-1"]
    assert "blog (revoked)" in out
    assert "credential ghcr is disabled" in err
    _, out, _ = await akua(cluster, "credential", "usage", "charts", "-o", "json")
    (found,) = json.loads(out)["pods"]
    assert (found["pod"], found["installs"]) == ("charts-abc-1", {"shop": "may pull"})
    code, out, err = await akua(cluster, "credential", "usage", "rest")
    assert (code, out, "no pod runs an image" in err) == (0, "", True)


async def test_a_right_that_is_missing_is_one_clear_message(cluster: ControlPlane, tmp_path: Path) -> None:
    person = member(cluster, tmp_path, pods_in=["shop-prod"])
    code, out, _ = await akua(person, "install", "pods", "shop")
    assert (code, len(shown(out))) == (0, 2)
    code, out, err = await akua(person, "install", "pods", "shop", "--everywhere")
    assert (code, len(shown(out))) == (1, 2)
    assert err.strip() == "akua: you may not list pods in this cluster, in all namespaces; ask for the right to list pods there"
    code, out, err = await akua(person, "install", "pods", "blog")
    assert (code, out) == (1, "")
    assert err.strip() == "akua: you may not list pods in this cluster, in blog-prod; ask for the right to list pods there"


async def test_a_remote_cluster_is_asked_as_far_as_it_can_be(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_control_plane(tmp_path_factory.mktemp("remote")) as far:
        namespaces(far, "shop-prod")
        runs(far, "shop-prod", "far", "ghcr.io/acme/web:1", "shop")
        cluster.kubectl("-n", "acme", "delete", "install", "shop")
        send_far(cluster, far)
        # Its API server stands on loopback here, which nobody's kubeconfig may name: that is what is said.
        code, _, err = await akua(cluster, "install", "pods", "shop")
        assert (code, "the cluster of Secret far: cluster.server: is a loopback" in err) == (1, True)
        monkeypatch.setattr(pod_search, "foreign_access", partial(foreign_access, allow_loopback=True))
        store = KubernetesStore(cluster.access(), heartbeat_seconds=0.5)
        await store.start()
        session = Session(load_settings({"AKUA_STATE": "kubernetes"}), store, "acme")
        search = await pod_search.search_pods(session, [session.install("shop")], lambda pod: True, everywhere=False)
        await store.stop()
        assert [(found.cluster, found.pod.name) for found in search.pods] == [("far", "far-abc-1")]
        assert search.problems == []
    cluster.kubectl("-n", "acme", "delete", "secret", "far")


def member(plane: ControlPlane, folder: Path, *, pods_in: Sequence[str]) -> ControlPlane:
    """The cluster as somebody sees it who may read our kinds everywhere, and pods only in some namespaces."""
    rules = [
        {"apiGroups": ["registry.akua.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces", "secrets"], "verbs": ["get", "list", "watch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "member", "namespace": "acme"}
    group = "rbac.authorization.k8s.io"

    def role(kind: str, rules: list[dict[str, Any]], metadata: dict[str, str]) -> list[dict[str, Any]]:
        reference = {"apiGroup": group, "kind": kind, "name": "member"}
        bound = {"apiVersion": f"{group}/v1", "kind": f"{kind}Binding", "metadata": metadata}
        return [
            {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules},
            {**bound, "subjects": [subject], "roleRef": reference},
        ]

    made = role("ClusterRole", rules, {"name": "member"})
    for space in pods_in:
        pods = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        made += role("Role", pods, {"name": "member", "namespace": space})
    made.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "member", "namespace": "acme"}})
    for each in made:
        apply(plane, each)
    token = plane.kubectl("-n", "acme", "create", "token", "member").strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return ControlPlane(plane.server, plane.certificate, file, token, plane.etcd, plane.processes)
