"""`kubectl patch` and `kubectl delete` decide the very next pull, kubelet says why, and nobody else notices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.cluster import until
from tests.support.installation import Installation
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
    registry, second = tenant.installation.registry, f"{tenant.username}-2"

    def logged_in() -> set[str]:
        """As whom the proxies log in by now."""
        seen = registry.log.stat().st_size
        assert set(tenant.installation.ask_proxies(tenant.image("web"), tenant.authorization())) == {200}
        return set(re.findall(rf"auth\.user\.name=\"?({tenant.username}(?:-2)?)\b", registry.log.read_text()[seen:]))

    assert logged_in() == {tenant.username}
    with PullLoop(tenant, tenant.image("web")) as loop:
        registry.add_user(second, "canary-next-password")
        tenant.installation.cluster.apply(credential_secret(tenant.workspace, second, "canary-next-password"))
        until(lambda: logged_in() == {second}, seconds=PATIENCE)
        registry.remove_user(tenant.username)
        loop.wait_for_pulls(3)
    assert loop.failures == []
    assert versions(tenant) == before


def versions(tenant: Tenant) -> dict[str, str]:
    """resourceVersion of everything in the pods' namespace but the pods that the tests make, and their events."""
    found = tenant.installation.cluster.items(
        "-n", tenant.namespace, "secrets,configmaps,serviceaccounts,pullgrants,roles,rolebindings"
    )
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


def test_a_token_of_an_older_generation_is_worthless_and_the_new_one_is_there(tenant: Tenant) -> None:
    before = tenant.authorization()
    tenant.in_workspace("patch", "install", INSTALL, "--type=merge", "-p", '{"spec":{"tokenGeneration":2}}')
    until(lambda: tenant.authorization() != before, seconds=PATIENCE)
    assert set(tenant.installation.ask_proxies(tenant.image("web"), before)) == {401}
    pulls(tenant, "after")


def test_the_neighbour_never_noticed(neighbour: PullLoop) -> None:
    neighbour.wait_for_pulls(3)
    assert neighbour.failures == []
