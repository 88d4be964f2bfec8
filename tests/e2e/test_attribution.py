"""Who pulled what: the trail has the pods beside their pulls, whole, and says who still runs what."""

from __future__ import annotations

import json

from tests.support.cluster import until
from tests.support.tenant import INSTALL, PATIENCE, Tenant, pod


def test_pods_beside_their_pulls(tenant: Tenant) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("web", tenant.image("web"))["spec"]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    tenant.kubectl("create", "-f", "-", input=json.dumps(manifest))
    tenant.kubectl("rollout", "status", "deployment/web", "--timeout=180s")
    rows = until(
        lambda: [row for row in tenant.audit("--install", INSTALL) if row["repository"] == f"{tenant.name}/web"], seconds=PATIENCE
    )
    admissions = [row for row in rows if row["operation"] == "admission"]
    assert [row["result"] for row in admissions] == ["allowed"]
    assert admissions[0]["pod"].startswith(f"{tenant.namespace}/web-")
    assert admissions[0]["owner"].startswith("ReplicaSet/web-")
    pulls = [row for row in rows if row["operation"] in ("head-manifest", "pull-manifest", "pull-blob")]
    assert {row["operation"] for row in pulls} == {"head-manifest", "pull-manifest", "pull-blob"}
    assert {row["result"] for row in pulls} == {"allowed"}
    assert {row["user_agent"].partition("/")[0] for row in pulls} == {"containerd"}
    assert all(row["client_address"] for row in pulls)
    assert {row["install_uid"] for row in rows} == {
        tenant.in_workspace("get", "install", INSTALL, "-o", "jsonpath={.metadata.uid}")
    }


def test_the_trail_is_whole(tenant: Tenant) -> None:
    tenant.start("web", tenant.image("web"))
    tenant.wait_for("web", "Running")
    done = tenant.installation.akua("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every one in its place" in done.stdout
