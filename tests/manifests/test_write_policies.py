"""The ValidatingAdmissionPolicies that narrow what RBAC cannot: which Secrets the install sync writes, what of the namespace."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from registry_access.model.names.registry_host import normalize_registry_host
from tests.manifests.conftest import once
from tests.support.api_requests import Answer, ApiRequests
from tests.support.stolen_tokens import NO_WORKSPACE, WORKSPACE

WEBHOOK, PROXY = (f"system:serviceaccount:akua-system:akua-{part}" for part in ("webhook", "proxy"))
OURS = {"app.kubernetes.io/managed-by": "akua-install-sync"}
PULL, OPAQUE, KEYS = "kubernetes.io/dockerconfigjson", "Opaque", "registry.akua.dev/signing-keys"
TOKEN = "kubernetes.io/service-account-token"
SYSTEM = "akua-system"


def secret(namespace: str, name: str, type: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    value = base64.b64encode(b'{"auths":{}}').decode()
    metadata: dict[str, Any] = {"namespace": namespace, "name": name, "labels": labels or {}}
    if type == TOKEN:
        metadata["annotations"] = {"kubernetes.io/service-account.name": "akua-proxy"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type, "data": {".dockerconfigjson": value}}


def path(manifest: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{manifest['metadata']['namespace']}/secrets/{manifest['metadata']['name']}"


@pytest.fixture(scope="module", autouse=True)
def in_force(api: ApiRequests) -> Iterator[None]:
    for name in ("shop-prod", "acme"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, f"/api/v1/namespaces/{name}")
    api("PATCH", "/api/v1/namespaces/acme", WORKSPACE)
    for name in ("akua-ca", "akua-install-token-keys", "akua-install-token-jwks", "akua-heartbeat"):
        api("DELETE", f"/api/v1/namespaces/{SYSTEM}/secrets/{name}")  # of processes in other tests
    probe = secret("shop-prod", "probe", PULL, OURS)
    once(lambda: api("APPLY", path(probe), probe, user=WEBHOOK, dry_run=True), "pull Secrets only")
    relabelled = {"metadata": {"labels": {"probe": "true"}}}
    once(lambda: api("PATCH", f"/api/v1/namespaces/{SYSTEM}", relabelled, user=PROXY, dry_run=True), "only heartbeats")
    yield
    api("PATCH", "/api/v1/namespaces/acme", NO_WORKSPACE)


@pytest.mark.parametrize(
    ("manifest", "refusal"),
    [
        (secret("shop-prod", "akua-pull-shop", PULL, OURS), ""),
        (secret("shop-prod", "shop", PULL, OURS), "named akua-pull-*"),
        (secret("shop-prod", "akua-pull-shop", PULL), "labelled app.kubernetes.io/managed-by=akua-install-sync"),
        (secret("shop-prod", "akua-pull-shop", PULL, {"app.kubernetes.io/managed-by": "Helm"}), "labelled"),
        (secret("shop-prod", "akua-pull-shop", OPAQUE, OURS), "of type kubernetes.io/dockerconfigjson"),
        (secret("shop-prod", "akua-pull-shop", TOKEN, OURS), "of type kubernetes.io/dockerconfigjson"),
        (secret("kube-system", "bootstrap-token-abcdef", "bootstrap.kubernetes.io/token", OURS), "pull Secrets only"),
        (secret(SYSTEM, "akua-install-token-keys", KEYS), ""),
        (secret(SYSTEM, "akua-install-token-jwks", KEYS), ""),
        (secret(SYSTEM, "akua-ca", OPAQUE), ""),
        (secret(SYSTEM, "akua-heartbeat", OPAQUE), ""),
        (secret(SYSTEM, "akua-access-token-keys", KEYS), "its own keys and certificates"),
        (secret(SYSTEM, "akua-audit", OPAQUE), "its own keys and certificates"),
        (secret(SYSTEM, "akua-pull-shop", PULL, OURS), "its own keys and certificates"),
        (secret(SYSTEM, "akua-ca", TOKEN), "no ServiceAccount tokens"),
    ],
    ids=lambda value: "/".join(map(str, value["metadata"].values())) + value["type"] if isinstance(value, dict) else value,
)
def test_which_secrets_the_install_sync_makes(api: ApiRequests, manifest: dict[str, Any], refusal: str) -> None:
    answer = api("APPLY", path(manifest), manifest, user=WEBHOOK, dry_run=True)
    assert answer.allowed is (not refusal), answer.message
    assert refusal in answer.message


def test_only_our_own_pull_secrets_are_changed_or_deleted(api: ApiRequests) -> None:
    theirs, ours = secret("shop-prod", "akua-pull-theirs", PULL), secret("shop-prod", "akua-pull-ours", PULL, OURS)
    credential = secret("acme", "upstream", OPAQUE)
    for manifest in (theirs, ours, credential):
        api.apply(manifest, path(manifest))
    # Taking over what is another's by writing our label on it is a write of another's Secret.
    taken = {"metadata": {"labels": OURS}}
    assert "before and after" in api("PATCH", path(theirs), taken, user=WEBHOOK).message
    own, foreign = ({"metadata": {"annotations": {name: "b"}}} for name in ("registry.akua.dev/install-uid", "a"))
    assert api("PATCH", path(ours), own, user=WEBHOOK).allowed
    assert "of its own only" in api("PATCH", path(ours), foreign, user=WEBHOOK).message
    assert "before and after" in api("PATCH", path(ours), {"metadata": {"labels": None}}, user=WEBHOOK).message
    for manifest in (theirs, credential):
        assert "pull Secrets only" in api("DELETE", path(manifest), user=WEBHOOK).message
        assert api("DELETE", path(manifest)).allowed, "nobody else is narrowed"
    assert api("DELETE", path(ours), user=WEBHOOK).allowed


def test_of_the_namespace_only_heartbeats_are_written(api: ApiRequests) -> None:
    where = f"/api/v1/namespaces/{SYSTEM}"
    heartbeat = {"metadata": {"annotations": {"heartbeat.registry.akua.dev/abc": "1-1"}}}
    for user in (WEBHOOK, PROXY):
        assert api("PATCH", where, heartbeat, user=user).allowed
        # A workspace's Secrets are the proxy's to read: the namespace of the signing keys must never become one.
        workspace = {"metadata": {"labels": {"registry.akua.dev/workspace": "true"}}}
        assert "only heartbeats" in api("PATCH", where, workspace, user=user).message
        lowered = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}
        assert "only heartbeats" in api("PATCH", where, lowered, user=user).message
        other = {"metadata": {"annotations": {"scheduler.alpha.kubernetes.io/node-selector": "a=b"}}}
        assert "only annotations heartbeat.registry.akua.dev/*" in api("PATCH", where, other, user=user).message
    assert api("PATCH", where, {"metadata": {"annotations": {"note": "by a person"}}}).allowed
    assert "only annotations" in api("PATCH", where, {"metadata": {"annotations": {"note": None}}}, user=PROXY).message
    gone = {"metadata": {"annotations": {"heartbeat.registry.akua.dev/abc": None}}}
    assert api("PATCH", where, gone, user=WEBHOOK).allowed


def test_the_install_sync_writes_pull_grants_anywhere_and_the_proxy_none(api: ApiRequests) -> None:
    spec = {"host": "oci.akua.dev", "images": ["ghcr.io/acme/app"], "pullSecret": "akua-pull-shop"}
    manifest = {"apiVersion": "registry.akua.dev/v1alpha1", "kind": "PullGrant", "metadata": {"name": "shop"}, "spec": spec}
    where = "/apis/registry.akua.dev/v1alpha1/namespaces/shop-prod/pullgrants/shop"
    assert api("APPLY", where, manifest, user=WEBHOOK, dry_run=True).allowed
    assert api("APPLY", where, manifest, user=PROXY, dry_run=True).status == 403, json.dumps(manifest)


@pytest.mark.parametrize(
    "written",
    ["OCI.akua.dev", "oci.akua.dev:443", "oci.akua.dev:0443", "oci.akua.dev:8443", "oci.akua.dev:08443", "[FD00::1]:5000"],
)
def test_the_host_of_grants_is_what_the_programs_read_in_the_settings(api: ApiRequests, written: str) -> None:
    maps = api("GET", f"/api/v1/namespaces/{SYSTEM}/configmaps").body["items"]
    (name,) = (each["metadata"]["name"] for each in maps if each["metadata"]["name"].startswith("akua-settings"))
    settings, host = f"/api/v1/namespaces/{SYSTEM}/configmaps/{name}", normalize_registry_host(written)
    grants = "/apis/registry.akua.dev/v1alpha1/namespaces/shop-prod/pullgrants/shop"

    def sent(to: str) -> Answer:
        spec = {"host": to, "images": ["ghcr.io/acme/app"], "pullSecret": "akua-pull-shop"}
        kind = {"apiVersion": "registry.akua.dev/v1alpha1", "kind": "PullGrant", "metadata": {"name": "shop"}}
        return api("APPLY", grants, {**kind, "spec": spec}, user=WEBHOOK, dry_run=True)

    assert api("PATCH", settings, {"data": {"AKUA_HOST": written}}).allowed
    try:
        once(lambda: sent("evil.example"), f"to {host} only")
        assert sent(host).allowed
    finally:
        assert api("PATCH", settings, {"data": {"AKUA_HOST": "oci.akua.dev"}}).allowed
        once(lambda: sent("evil.example"), "to oci.akua.dev only")


def test_of_an_install_the_sync_changes_its_own_finalizer_alone(api: ApiRequests) -> None:
    spec = {"repositories": ["ghcr.io/acme/app"], "revoked": True, "cluster": {"kubeconfigSecret": "other"}}
    metadata = {"name": "shop", "namespace": "acme", "finalizers": ["acme.example/theirs"], "annotations": {"note": "mine"}}
    manifest = {"apiVersion": "registry.akua.dev/v1alpha1", "kind": "Install", "metadata": metadata, "spec": spec}
    where = "/apis/registry.akua.dev/v1alpha1/namespaces/acme/installs/shop"
    api.apply(manifest, where)
    ours, theirs = "registry.akua.dev/remote-cleanup", "acme.example/theirs"
    once(lambda: api("PATCH", where, {"spec": {"revoked": False}}, user=WEBHOOK, dry_run=True), "nothing else")
    for change in (
        {"spec": {"revoked": False}},
        {"spec": {"repositories": ["ghcr.io/acme/other"]}},
        {"metadata": {"annotations": {"note": None}}},
        {"metadata": {"labels": {"team": "x"}}},
    ):
        assert "nothing else" in api("PATCH", where, change, user=WEBHOOK).message
    assert "finalizers of others" in api("PATCH", where, {"metadata": {"finalizers": [ours]}}, user=WEBHOOK).message
    assert api("PATCH", where, {"metadata": {"finalizers": [theirs, ours]}}, user=WEBHOOK).allowed
    assert api("PATCH", where, {"metadata": {"finalizers": [theirs]}}, user=WEBHOOK).allowed
    assert api("PATCH", f"{where}/status", {"status": {"tokenID": "tok_1"}}, user=WEBHOOK).allowed
    assert not api("PATCH", where, {"metadata": {"finalizers": [theirs, ours]}}, user=PROXY).allowed
    assert api("PATCH", where, {"metadata": {"finalizers": None}}).allowed
    assert api("DELETE", where).allowed


PROXY_ACCOUNT = {"kind": "ServiceAccount", "name": "akua-proxy", "namespace": SYSTEM}
LEADER = "akua-workspace-access"
RBAC = "rbac.authorization.k8s.io/v1"
MALLORY = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}


def binding(namespace: str = "acme", *more: dict[str, str], label: str = LEADER) -> dict[str, Any]:
    metadata = {"name": "akua-proxy", "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": label}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "akua-workspace-secrets"}
    subjects = [PROXY_ACCOUNT, *more]
    return {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects}


def binding_path(manifest: dict[str, Any]) -> str:
    return f"/apis/{RBAC}/namespaces/{manifest['metadata']['namespace']}/rolebindings/akua-proxy"


def test_the_leader_lets_the_proxy_in_and_nobody_else(api: ApiRequests) -> None:
    others = binding("acme", MALLORY)
    once(lambda: api("APPLY", binding_path(others), others, user=WEBHOOK, dry_run=True), "nobody into anything else")
    labelled_otherwise = binding("shop-prod", label="Helm")
    assert "of its own only" in api("APPLY", binding_path(labelled_otherwise), labelled_otherwise, user=WEBHOOK).message
    ours = binding()
    assert api("APPLY", binding_path(ours), ours, user=WEBHOOK).allowed
    assert "nobody into anything else" in api("PATCH", binding_path(ours), {"subjects": [MALLORY]}, user=WEBHOOK).message
    relabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    assert "of its own only" in api("PATCH", binding_path(ours), relabelled, user=WEBHOOK).message
    assert api("DELETE", binding_path(ours), user=WEBHOOK).allowed


def test_the_leader_removes_no_role_binding_of_others(api: ApiRequests) -> None:
    theirs = binding("shop-prod", label="Helm")
    api.apply(theirs, binding_path(theirs))
    assert "of its own only" in api("DELETE", binding_path(theirs), user=WEBHOOK).message
    # The proxy's own rights in akua-system have the same name.
    assert "of its own only" in api("DELETE", binding_path(binding(SYSTEM)), user=WEBHOOK, dry_run=True).message
    assert api("DELETE", binding_path(theirs)).allowed
