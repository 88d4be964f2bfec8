"""Whatever makes a pod: its images come through the proxy, and its namespace never sees what opens the upstream."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import hack, until
from tests.support.helm import Helm
from tests.support.installation import HOST, Installation
from tests.support.tenant import PATIENCE, Tenant, pod
from tests.support.tenant import tenant as new_tenant

FOREVER = ["sleep", "2147483647"]


@pytest.fixture(scope="module")
def shop(installation: Installation) -> Iterator[Tenant]:
    """One tenant in which all of these run; its cron job, which fires once a minute, goes first."""
    with new_tenant(installation) as made:
        spec = {"schedule": "* * * * *", "jobTemplate": {"spec": job_spec("cron", made.image("cron"))}}
        apply(made, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"}, "spec": spec})
        yield made


def template(name: str, image: str, **spec: Any) -> dict[str, Any]:
    """A pod template with label ``app: NAME``."""
    made = pod(name, image, FOREVER, policy="IfNotPresent")["spec"]
    return {"metadata": {"labels": {"app": name}}, "spec": {**made, **spec}}


def workload(kind: str, name: str, template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": template["metadata"]["labels"]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": selector, "template": template, **spec},
    }


def job_spec(name: str, image: str) -> dict[str, Any]:
    made = template(name, image, restartPolicy="Never")
    made["spec"]["containers"][0]["command"] = ["true"]
    return {"template": made, "backoffLimit": 0}


def apply(shop: Tenant, *manifests: dict[str, Any]) -> None:
    shop.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


def pods(shop: Tenant, selector: str) -> list[dict[str, Any]]:
    return shop.installation.cluster.items("-n", shop.namespace, "pods", "-l", selector)


def pulled(found: dict[str, Any]) -> dict[str, str]:
    """Container -> image as it runs, of containers that run or have run."""
    status = found["status"]
    kinds = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    states = [one for kind in kinds for one in status.get(kind, [])]
    return {one["name"]: one["image"] for one in states if {"running", "terminated"} & set(one["state"]) and one["imageID"]}


def wait_for_workload(shop: Tenant, workload: str) -> None:
    shop.kubectl("rollout", "status", workload, "--timeout=180s")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_controllers_of_long_running_pods(shop: Tenant, kind: str) -> None:
    name = kind.lower()
    replicas = {} if kind == "DaemonSet" else {"replicas": 2}
    apply(shop, workload(kind, name, template(name, shop.image(name)), **replicas))
    wait_for_workload(shop, f"{kind}/{name}")
    copies = replicas.get("replicas", 1)
    assert [pulled(one) for one in pods(shop, f"app={name}")] == [{"main": shop.proxied(name)}] * copies


def test_a_job(shop: Tenant) -> None:
    apply(
        shop, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": job_spec("job", shop.image("job"))}
    )
    shop.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=180s")
    assert [pulled(one) for one in pods(shop, "app=job")] == [{"main": shop.proxied("job")}]


def test_init_containers_and_sidecars(shop: Tenant) -> None:
    images = {name: shop.image(name) for name in ("prepare", "sidecar", "main")}
    initial = [
        {"name": "prepare", "image": images["prepare"], "command": ["true"]},
        {"name": "sidecar", "image": images["sidecar"], "command": FOREVER, "restartPolicy": "Always"},
    ]
    shop.start("initial", images["main"], *FOREVER, initContainers=initial)
    shop.wait_for("initial", "Running")
    found = shop.installation.cluster.get("-n", shop.namespace, "pod", "initial")
    assert pulled(found) == {name: shop.proxied(name) for name in images}
    original = json.loads(found["metadata"]["annotations"]["registry.akua.dev/original-images"])
    assert sorted(original.values()) == sorted(images.values())


def test_kubectl_debug_adds_an_ephemeral_container(shop: Tenant) -> None:
    shop.start("debugged", shop.image("worker"), *FOREVER)
    shop.wait_for("debugged", "Running")
    shop.kubectl("debug", "debugged", "--profile=general", "--container=tool", f"--image={shop.image('tool')}", "--", *FOREVER)
    until(
        lambda: (
            pulled(shop.installation.cluster.get("-n", shop.namespace, "pod", "debugged")).get("tool") == shop.proxied("tool")
        ),
        seconds=PATIENCE,
        why=lambda: shop.describe("debugged"),
    )


def test_a_plain_pod_by_kubectl_apply(shop: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod("plain", shop.image("plain"))))
    shop.kubectl("apply", "-f", str(file))
    shop.wait_for("plain", "Running")
    assert shop.kubectl("exec", "plain", "--", "wget", "-qO-", "http://127.0.0.1/") == f"{shop.name}/plain"


def test_a_helm_chart_with_no_values_changed(shop: Tenant, tmp_path: Path) -> None:
    """The chart that `helm create` makes, whose author has put a private image into its values."""
    helm = Helm(Path(hack("helm")), shop.installation.cluster.kubeconfig, shop.namespace)
    chart = helm.create("storefront", tmp_path)
    image = shop.image("storefront", "1.16.0")
    values = (chart / "values.yaml").read_text()
    assert "repository: nginx" in values
    (chart / "values.yaml").write_text(values.replace("repository: nginx", f"repository: {image.removesuffix(':1.16.0')}"))
    helm("install", "storefront", str(chart), "--wait", "--timeout", "3m")
    found = pods(shop, "app.kubernetes.io/instance=storefront")
    assert [pulled(one) for one in found] == [{"storefront": shop.proxied("storefront", "1.16.0")}]
    helm("uninstall", "storefront")


def test_a_cron_job(shop: Tenant) -> None:
    until(lambda: any(one["status"]["phase"] == "Succeeded" for one in pods(shop, "app=cron")), seconds=PATIENCE)
    assert pulled(pods(shop, "app=cron")[0]) == {"main": shop.proxied("cron")}
    shop.kubectl("delete", "cronjob", "cron")


def test_the_namespace_holds_nothing_that_opens_the_upstream(shop: Tenant) -> None:
    cluster = shop.installation.cluster
    secrets = cluster.items("-n", shop.namespace, "secrets")
    values = [base64.b64decode(value).decode() for secret in secrets for value in secret.get("data", {}).values()]
    assert [json.loads(value)["auths"].keys() for value in values] == [{HOST}]
    decoded = [base64.b64decode(json.loads(value)["auths"][HOST]["auth"]).decode() for value in values]
    everything = cluster.kubectl("-n", shop.namespace, "get", "all,secrets,configmaps,pullgrants,serviceaccounts", "-o", "json")
    for said in (everything, *values, *decoded):
        assert shop.password not in said
        assert shop.username not in said
    # The same look finds them where they are.
    assert shop.username in base64.b64decode(cluster.get("-n", shop.workspace, "secret", "upstream")["data"]["username"]).decode()


def test_nobody_but_the_proxy_ever_spoke_to_the_upstream(shop: Tenant) -> None:
    requests = [line for line in shop.installation.registry.log.read_text().splitlines() if f"/v2/{shop.name}/" in line]
    assert [line for line in requests if "akua-registry-access" in line and '"GET ' in line]
    assert not [line for line in requests if "containerd" in line]
