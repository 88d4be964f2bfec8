"""What is none of our business stays as it was written, and whoever might have expected otherwise is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.cluster import BUSYBOX_IMAGE, until
from tests.support.installation import SYSTEM, Installation
from tests.support.tenant import PATIENCE, Tenant, pod
from tests.support.tenant import tenant as new_tenant

MIRROR = "kubernetes.io/config.mirror"


@pytest.fixture(scope="module")
def shop(installation: Installation) -> Iterator[Tenant]:
    with new_tenant(installation) as made:
        yield made


def created(shop: Tenant, namespace: str, manifest: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What the API server would store, and what kubectl says besides."""
    command = ("-n", namespace, "create", "-f", "-", "--dry-run=server", "-o", "json")
    done = shop.installation.cluster.run(*command, input=json.dumps(manifest))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def is_as_written(found: dict[str, Any], image: str) -> bool:
    images = [container["image"] for container in found["spec"]["containers"]]
    annotations = [name for name in found["metadata"].get("annotations", {}) if "akua" in name]
    return images == [image] and not found["spec"].get("imagePullSecrets") and not annotations


def test_a_granted_namespace_is_rewritten_to_compare_with(shop: Tenant) -> None:
    found, said = created(shop, shop.namespace, pod("web", shop.image("web")))
    assert not is_as_written(found, shop.image("web"))
    assert "Warning" not in said


@pytest.mark.parametrize("namespace", ["kube-system", "default", SYSTEM])
def test_namespaces_without_grants_and_the_cluster_s_own(shop: Tenant, namespace: str) -> None:
    manifest = pod("web", shop.image("web"), securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}})
    container = manifest["spec"]["containers"][0]
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    found, said = created(shop, namespace, manifest)
    assert is_as_written(found, shop.image("web"))
    assert not said


def test_kube_system_even_with_an_install_that_targets_it(shop: Tenant) -> None:
    """Nothing is written there, and the install says why."""

    def message() -> str:
        install = json.loads(shop.in_workspace("get", "install", "shop", "-o", "json"))
        targets = install.get("status", {}).get("targets", [])
        return next((str(each.get("message", "")) for each in targets if each["namespace"] == "kube-system"), "")

    shop.in_workspace("patch", "install", "shop", "--type=merge", "-p", targets(shop.namespace, "kube-system"))
    until(lambda: "is reserved" in message(), seconds=PATIENCE, why=message)
    assert not shop.installation.cluster.kubectl("-n", "kube-system", "get", "pullgrants", "-o", "name")
    found, _ = created(shop, "kube-system", pod("web", shop.image("web")))
    assert is_as_written(found, shop.image("web"))
    shop.in_workspace("patch", "install", "shop", "--type=merge", "-p", targets(shop.namespace))
    until(lambda: not message(), seconds=PATIENCE)


def targets(*namespaces: str) -> str:
    return json.dumps({"spec": {"targets": [{"namespace": namespace} for namespace in namespaces]}})


def test_our_own_pods_wherever_they_are(shop: Tenant) -> None:
    manifest = pod("web", shop.image("web"))
    manifest["metadata"]["labels"] = {"registry.akua.dev/part": "proxy"}
    found, _ = created(shop, shop.namespace, manifest)
    assert is_as_written(found, shop.image("web"))
    cluster = shop.installation.cluster
    running = [
        one
        for part in ("webhook", "proxy", "node-trust")
        for one in cluster.items("-A", "pods", f"-l=registry.akua.dev/part={part}")
    ]
    assert {one["spec"]["containers"][0]["image"] for one in running} == {"localhost/akua-registry-access:dev"}
    assert not [one for one in running if one["spec"].get("imagePullSecrets")]


def test_the_mirror_of_a_static_pod(shop: Tenant) -> None:
    """kubelet's report of what it runs already; were it changed, kubelet would make it anew for ever."""
    cluster = shop.installation.cluster
    manifest = pod("static", BUSYBOX_IMAGE, ["sleep", "2147483647"], policy="Never")
    manifest["metadata"]["namespace"] = shop.namespace
    manifest["spec"]["containers"].append({"name": "granted", "image": shop.image("web")})
    file = cluster.static_pods / f"{shop.name}.yaml"
    file.write_text(yaml.safe_dump(manifest))
    try:
        mirror = until(lambda: mirrors(shop), seconds=PATIENCE)[0]
        assert [one["image"] for one in mirror["spec"]["containers"]] == [BUSYBOX_IMAGE, shop.image("web")]
        assert not mirror["spec"].get("imagePullSecrets")
        until(lambda: [one for one in mirrors(shop)[0]["status"].get("containerStatuses", []) if one["ready"]], seconds=PATIENCE)
        assert mirrors(shop)[0]["metadata"]["uid"] == mirror["metadata"]["uid"]
    finally:
        file.unlink()
    until(lambda: not mirrors(shop), seconds=PATIENCE)


def mirrors(shop: Tenant) -> list[dict[str, Any]]:
    pods = shop.installation.cluster.items("-n", shop.namespace, "pods")
    return [one for one in pods if MIRROR in one["metadata"].get("annotations", {})]


def test_what_was_not_rewritten_is_told_by_kubectl(shop: Tenant) -> None:
    others = f"{shop.installation.registry.authority}/somebody-else/web:1"
    found, said = created(shop, shop.namespace, pod("web", others))
    assert is_as_written(found, others)
    assert f"Warning: {others} is not among what this namespace was granted; it is pulled as written" in said


def test_an_image_of_another_registry_is_no_reason_for_a_warning(shop: Tenant) -> None:
    found, said = created(shop, shop.namespace, pod("web", "registry.example.com/any/web:1"))
    assert is_as_written(found, "registry.example.com/any/web:1")
    assert not said


def test_kubectl_debug_of_a_pod_that_never_got_the_secret_is_told_why(shop: Tenant) -> None:
    """A pod's pull Secrets cannot be added later; the tool's image is left as it is, and kubectl says so."""
    shop.kubectl("run", "bare", f"--image={BUSYBOX_IMAGE}", "--image-pull-policy=Never", "--", "sleep", "2147483647")
    shop.wait_for("bare", "Running")
    done = shop.installation.cluster.run(
        "-n",
        shop.namespace,
        "debug",
        "bare",
        "--profile=general",
        "--container=tool",
        f"--image={shop.image('tool')}",
        "--",
        "true",
    )
    assert done.returncode == 0, done.stderr
    assert f"Warning: {shop.image('tool')} is left as it is: this pod was created without the pull Secret" in done.stderr
    found = shop.installation.cluster.get("-n", shop.namespace, "pod", "bare")
    assert found["spec"]["ephemeralContainers"][0]["image"] == shop.image("tool")
