"""`kubectl patch` and `kubectl delete` decide the very next pull, kubelet says why, and nobody else notices."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import until
from tests.support.installation import HOST, Installation
from tests.support.pull_loop import PullLoop
from tests.support.tenant import CREDENTIAL, INSTALL, PATIENCE, Refusal, Tenant, credential_secret
from tests.support.tenant import tenant as new_tenant


@pytest.fixture(scope="module", autouse=True)
def neighbour(installation: Installation) -> Iterator[PullLoop]:
    """Another customer's namespace, which pulls all the time while everything in this file happens."""
    with new_tenant(installation) as made, PullLoop(made, made.image("web")) as loop:
        yield loop


def refused(tenant: Tenant, name: str, reason: str) -> Refusal:
    """A new pod's pull is refused for `reason`; kubelet's event, `akua explain` and the audit trail say the same."""
    image = tenant.image("web")
    tenant.start(name, image, "sleep", "2147483647")
    found = tenant.refusal(name)
    assert found.reason == reason, found.message
    assert tenant.explain(image)["reason"] == reason
    rows = until(
        lambda: [row for row in tenant.audit("--result=refused") if row["decision_id"] == found.decision], seconds=PATIENCE
    )
    assert {(row["install"], row["reason"]) for row in rows} == {(INSTALL, reason)}
    return found


def pulls(tenant: Tenant, name: str) -> None:
    tenant.start(name, tenant.image("web"), "sleep", "2147483647")
    tenant.wait_for(name, "Running")


def test_a_revoked_install_pulls_nothing_until_it_is_restored(tenant: Tenant) -> None:
    pulls(tenant, "before")
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", '{"spec":{"revoked":true}}')
    refused(tenant, "revoked", "install-revoked")
    assert tenant.phase("before") == "Running"
    described = tenant.in_workspace("describe", "install", INSTALL)
    assert "install-revoked" in described, "an event on the install says why"
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", '{"spec":{"revoked":false}}')
    pulls(tenant, "restored")
    assert tenant.explain(tenant.image("web"))["allowed"]
    tenant.wait_for("revoked", "Running")  # kubelet tries again by itself


def test_a_disabled_credential_is_used_no_more_until_it_is_enabled(tenant: Tenant) -> None:
    pulls(tenant, "before")
    tenant.in_workspace("patch", "rcred", CREDENTIAL, "--type=merge", "-p", '{"spec":{"disabled":true}}')
    refused(tenant, "disabled", "credential-disabled")
    tenant.in_workspace("patch", "rcred", CREDENTIAL, "--type=merge", "-p", '{"spec":{"disabled":false}}')
    pulls(tenant, "enabled")


def test_a_deleted_credential_opens_nothing(tenant: Tenant) -> None:
    pulls(tenant, "before")
    tenant.in_workspace("delete", "rcred", CREDENTIAL)
    refused(tenant, "deleted", "credential-missing")


def test_a_deleted_install_takes_everything_along_and_a_copied_token_opens_nothing(tenant: Tenant) -> None:
    copied = {"metadata": {"name": "copied"}, "type": "kubernetes.io/dockerconfigjson"}
    secret = tenant.installation.cluster.get("-n", tenant.namespace, "secret", f"akua-pull-{INSTALL}")
    tenant.kubectl(
        "create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Secret", "data": secret["data"], **copied})
    )
    pulls(tenant, "before")
    tenant.in_workspace("delete", "install", INSTALL)
    gone = ("get", f"secret/akua-pull-{INSTALL}", f"pullgrant.registry.akua.dev/{INSTALL}", "--ignore-not-found", "-o", "name")
    until(lambda: not tenant.kubectl(*gone), seconds=PATIENCE)
    tenant.start("copied", tenant.proxied("web"), "sleep", "2147483647", imagePullSecrets=[{"name": "copied"}])
    assert tenant.refusal("copied").reason == "install-unknown"
    # Nothing is rewritten any more either.
    assert tenant.admitted(tenant.image("web")) == tenant.image("web")


def test_a_new_secret_behind_a_credential_changes_nothing_in_the_namespace(tenant: Tenant) -> None:
    pulls(tenant, "before")
    before = versions(tenant)
    registry = tenant.installation.registry
    registry.add_user(f"{tenant.username}-2", "canary-next-password")
    tenant.installation.cluster.apply(credential_secret(tenant.workspace, f"{tenant.username}-2", "canary-next-password"))
    registry.remove_user(tenant.username)

    def uses_the_new_one() -> bool:
        requests = registry.log.read_text().splitlines()
        return any(f"/v2/{tenant.name}/" in line and f"{tenant.username}-2" in line for line in requests)

    with PullLoop(tenant, tenant.image("web")) as loop:
        until(uses_the_new_one, seconds=PATIENCE)
        loop.wait_for_pulls(2)
    assert loop.failures == []
    assert versions(tenant) == before


def versions(tenant: Tenant) -> dict[str, str]:
    """resourceVersion of everything in the pods' namespace but the pods that the tests make, and their events."""
    found = tenant.installation.cluster.items(
        "-n", tenant.namespace, "secrets,configmaps,serviceaccounts,pullgrants,roles,rolebindings"
    )
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


def test_a_token_of_an_older_generation_is_worthless_and_the_new_one_is_there(tenant: Tenant) -> None:
    def token() -> str:
        secret = tenant.installation.cluster.get("-n", tenant.namespace, "secret", f"akua-pull-{INSTALL}")
        config: dict[str, Any] = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        return str(config["auths"][HOST]["auth"])

    before = token()
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", '{"spec":{"tokenGeneration":2}}')
    until(lambda: token() != before, seconds=PATIENCE)
    pulls(tenant, "after")


def test_the_neighbour_never_noticed(neighbour: PullLoop) -> None:
    neighbour.wait_for_pulls(3)
    assert neighbour.failures == []
