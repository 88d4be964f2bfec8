"""Attempts that are the same on many objects: metadata of others, heartbeats, and what no account of ours may do."""

from __future__ import annotations

from typing import Any

from tests.support.stolen_tokens import (
    HEARTBEATS,
    NAMESPACE_OF,
    POLICIES,
    REGISTRATION,
    SYSTEM,
    Attempt,
    binding_path,
    core,
    custom,
    group,
    heartbeat,
    resource,
)

WEBHOOK, PROXY = "akua-webhook", "akua-proxy"
BOTH = (WEBHOOK, PROXY)
DANGLING = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-0000-0000-000000000000"}]
EVENTS = "events.k8s.io/v1"
REPLICATE = "reflector.v1.k8s.emberstack.com/reflects"  # an order to a controller that copies Secrets
WATCHED = {WEBHOOK: ("products", "installs", "pullgrants"), PROXY: ("registrycredentials", "products", "installs")}


def metadata_of_others() -> list[Attempt]:
    """On each object that an account may patch: an owner that does not exist, a finalizer, orders to other controllers."""
    patched = [
        (PROXY, core(SYSTEM, "secrets", "akua-access-token-keys")),
        (WEBHOOK, core("shop-prod", "secrets", "akua-pull-shop")),
        (WEBHOOK, custom("shop-prod", "pullgrants", "shop")),
        (WEBHOOK, custom("acme", "installs", "shop")),
        (WEBHOOK, binding_path("acme")),
        (WEBHOOK, REGISTRATION),
        (WEBHOOK, core(SYSTEM, "configmaps", "akua-ca")),
        (PROXY, group(EVENTS, "acme", "events", "by-proxy")),
        (WEBHOOK, group(EVENTS, "acme", "events", "by-webhook")),
    ]
    patched += [(WEBHOOK, core(SYSTEM, "secrets", f"akua-{name}")) for name in ("install-token-keys", "ca", "webhook-tls")]
    patched += [(account, core_namespace()) for account in BOTH]
    patched += [(account, custom(SYSTEM, plural, "akua-heartbeat")) for account in BOTH for plural in WATCHED[account]]
    changes = {
        "a dangling owner": {"ownerReferences": DANGLING},
        "a finalizer": {"finalizers": ["mallory.example/keep"]},
        "a foreign label": {"labels": {"argocd.argoproj.io/instance": "mallory"}},
        "a foreign annotation": {"annotations": {REPLICATE: "kube-system/theirs"}},
        "cert-manager's annotation": {"annotations": {"cert-manager.io/inject-ca-from": "mallory/mallory"}},
    }
    return [
        Attempt(account, f"{what} on {path}", "PATCH", path, {"metadata": change}, "denied request")
        for account, path in patched
        for what, change in changes.items()
    ]


def core_namespace() -> str:
    return f"/api/v1/namespaces/{SYSTEM}"


def heartbeats() -> list[Attempt]:
    working: dict[str, dict[str, Any]] = {
        "installs": {"revoked": False, "targets": [{"namespaceSelector": {}}], "repositories": ["docker.io/*"]},
        "products": {"repositories": ["docker.io/*"]},
        "registrycredentials": {"disabled": False},
        "pullgrants": {"host": "evil.example"},
    }
    made = []
    for account in BOTH:
        for plural in WATCHED[account]:
            path, stamp = custom(SYSTEM, plural, "akua-heartbeat"), {"heartbeat.registry.akua.dev/0123456789ab": "1767225600-1"}
            made += [
                Attempt(account, f"beats on {plural}", "PATCH", path, {"metadata": {"annotations": stamp}}),
                Attempt(account, f"makes the heartbeat of {plural}", "APPLY", path, heartbeat(plural)),
                Attempt(account, f"a working heartbeat of {plural}", "PATCH", path, {"spec": working[plural]}, "means nothing"),
                Attempt(
                    account, f"another name of {plural}", "APPLY", custom(SYSTEM, plural, "mine"), _other(plural), "forbidden"
                ),
                Attempt(account, f"deletes the heartbeat of {plural}", "DELETE", path, None, "forbidden"),
            ]
    return made


def _other(plural: str) -> dict[str, Any]:
    kind, spec = HEARTBEATS[plural]
    return resource(kind, SYSTEM, "mine", spec)


def everybody() -> list[Attempt]:
    """What no account of ours may do anywhere."""
    policy = f"{POLICIES}/akua-install-sync-writes"
    tries: list[tuple[str, str, str, dict[str, Any] | None]] = [
        ("deletes a policy", "DELETE", policy, None),
        ("softens a policy", "PATCH", policy, {"spec": {"failurePolicy": "Ignore"}}),
        ("deletes a policy's binding", "DELETE", policy.replace("policies", "policybindings"), None),
        ("only audits", "PATCH", policy.replace("policies", "policybindings"), {"spec": {"validationActions": ["Audit"]}}),
        ("a token of another account", "POST", core(SYSTEM, "serviceaccounts", "akua-webhook/token"), {"spec": {}}),
        ("a ServiceAccount", "POST", core(SYSTEM, "serviceaccounts"), {"metadata": {"name": "mine"}}),
        ("a pod", "POST", core(SYSTEM, "pods"), {"metadata": {"name": "mine"}, "spec": {"containers": []}}),
        ("a namespace", "POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}}),
        (
            "finalizes a namespace",
            "PUT",
            f"{core_namespace()}/finalize",
            {"metadata": {"name": SYSTEM}, "spec": {"finalizers": []}},
        ),
        ("deletes our namespace", "DELETE", core_namespace(), None),
        ("another's namespace", "PATCH", "/api/v1/namespaces/bystander", {"metadata": {"annotations": {"a": "b"}}}),
        ("a Role", "POST", group("rbac.authorization.k8s.io/v1", SYSTEM, "roles"), {"metadata": {"name": "mine"}, "rules": []}),
        (
            "a CustomResourceDefinition",
            "PATCH",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/installs.registry.akua.dev",
            {"spec": {}},
        ),
        ("an APIService", "POST", "/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": "v1.x"}}),
        ("its own Deployment", "PATCH", group("apps/v1", SYSTEM, "deployments", PROXY), {"spec": {"replicas": 9}}),
        (
            "approves a certificate",
            "POST",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests",
            {"metadata": {"name": "x"}},
        ),
        ("all installs at once", "DELETE", custom("acme", "installs", "").rstrip("/"), None),
        ("all grants at once", "DELETE", custom("shop-prod", "pullgrants", "").rstrip("/"), None),
        ("the host's nodes", "GET", "/api/v1/nodes", None),
        ("a pod's log", "GET", core("kube-system", "pods"), None),
    ]
    accounts = [account for account in NAMESPACE_OF if account != "akua-postgresql"]
    return [Attempt(account, what, method, path, body, "forbidden") for account in accounts for what, method, path, body in tries]
