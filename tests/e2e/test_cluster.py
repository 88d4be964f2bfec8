"""The node itself: what every other test of a cluster stands on."""

from __future__ import annotations

import json

from tests.support.cluster import BUSYBOX_IMAGE, RealCluster, until

WEB = ["sh", "-c", "echo served > /www/index.html; exec httpd -f -p 8080 -h /www"]


def web_pod(name: str) -> dict[str, object]:
    ports = [{"containerPort": 8080}]
    container: dict[str, object] = {
        "name": "web",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "Never",
        "command": WEB,
        "ports": ports,
    }
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}


def service() -> dict[str, object]:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def test_the_node_is_ready(cluster: RealCluster) -> None:
    nodes = cluster.get("nodes")["items"]
    conditions = [{one["type"]: one["status"] for one in node["status"]["conditions"]} for node in nodes]
    assert [each["Ready"] for each in conditions] == ["True"]


def test_a_pod_runs_and_is_reached_by_exec_logs_and_its_service(cluster: RealCluster, namespace: str) -> None:
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": [web_pod("web"), web_pod("other"), service()]})
    until(lambda: cluster.kubectl("-n", namespace, "get", "serviceaccount", "default", "--ignore-not-found"))
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=manifests)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    assert cluster.kubectl("-n", namespace, "exec", "web", "--", "cat", "/www/index.html") == "served\n"
    address = cluster.get("-n", namespace, "service", "web")["spec"]["clusterIP"]

    def through_the_service() -> bool:  # kube-proxy may be a moment behind the pods' readiness
        fetch = ["exec", "other", "--", "wget", "-qO-", f"http://{address}/"]
        return cluster.kubectl("-n", namespace, *fetch, check=False) == "served\n"

    until(through_the_service)
    kubernetes = ["exec", "web", "--", "wget", "-qO-", "--no-check-certificate", "https://10.96.0.1/healthz"]
    assert cluster.kubectl("-n", namespace, *kubernetes, check=False).endswith("ok")


def test_a_deployment_is_made_and_scaled_by_the_controllers(cluster: RealCluster, namespace: str) -> None:
    pod = web_pod("unused")
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "namespace": namespace}
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    assert cluster.get("-n", namespace, "deployment", "web")["status"]["availableReplicas"] == 2
